//! A network in between, which a test can take away: connections are refused, or they hang.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

#[derive(Default)]
struct Way {
    target: Mutex<Option<SocketAddr>>,
    hangs: AtomicBool,
}

/// Forwards TCP connections, until it is told otherwise.
pub(crate) struct Proxy {
    address: SocketAddr,
    way: Arc<Way>,
}

impl Proxy {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, way) = (listener.local_addr().unwrap(), Arc::<Way>::default());
        let leads = way.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let way = leads.clone();
                thread::spawn(move || connect(client, &way));
            }
        });
        Self { address, way }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Nowhere, as at first: a connection is closed as soon as it is made.
    pub(crate) fn leads_to(&self, target: Option<SocketAddr>) {
        *self.way.target.lock().unwrap() = target;
    }

    /// What is connected, and what will be, says and hears nothing; what was said while it hung is lost.
    pub(crate) fn hang(&self, hangs: bool) {
        self.way.hangs.store(hangs, Ordering::SeqCst);
    }
}

fn connect(client: TcpStream, way: &Arc<Way>) {
    let Some(target) = *way.target.lock().unwrap() else { return };
    let Ok(server) = TcpStream::connect(target) else { return };
    for (from, to) in [(&client, &server), (&server, &client)] {
        let (from, to, way) = (from.try_clone().unwrap(), to.try_clone().unwrap(), way.clone());
        thread::spawn(move || forward(from, to, &way));
    }
}

fn forward(mut from: TcpStream, mut to: TcpStream, way: &Way) {
    let mut buffer = [0; 4096];
    let mut lost = false;
    from.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    loop {
        let read = from.read(&mut buffer);
        lost |= way.hangs.load(Ordering::SeqCst);
        match read {
            Ok(0) => break,
            // A stream with a gap in it is over.
            Ok(_) if lost => {}
            Ok(read) if to.write_all(&buffer[..read]).is_ok() => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Ok(_) | Err(_) => break,
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
