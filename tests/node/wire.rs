//! Peers that speak by hand: as the examples' own clients never would, or not at that moment.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::thread;

use crate::cast::{Orchestrator, TOKEN, ask};

#[test]
fn regression_a_connection_ends_with_its_answer() {
    let orchestrator = Orchestrator::start(&[]);
    let mut peer = TcpStream::connect(orchestrator.address()).unwrap();
    peer.write_all(b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    let mut said = String::new();
    peer.read_to_string(&mut said).unwrap();
    // By the version alone a client knows that it must not reuse the connection.
    assert!(said.starts_with("HTTP/1.0 200 OK\r\n"), "{said}");
    assert_eq!(said.matches("HTTP/1.").count(), 1, "{said}");
}

#[test]
fn regression_a_body_without_an_end_holds_no_place() {
    let orchestrator = Orchestrator::start(&[]);
    let (let_in, fast, slow) = (format!("Authorization: Bearer {TOKEN}\r\n"), [b'x'; 4096], [b'x'; 1]);
    let bodies = [("", &fast[..], 401), ("", &slow[..], 401), (&let_in, &fast[..], 413), (&let_in, &slow[..], 408)];
    thread::scope(|scope| {
        for (header, chunk, status) in bodies {
            let mut peer = TcpStream::connect(orchestrator.address()).unwrap();
            write!(peer, "POST /v2/nodes/register HTTP/1.1\r\nHost: h\r\n{header}Transfer-Encoding: chunked\r\n\r\n")
                .unwrap();
            let mut sends = peer.try_clone().unwrap();
            scope.spawn(move || {
                let chunk = [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat();
                // Until nobody takes it any more.
                while sends.write_all(&chunk).is_ok() {
                    if chunk.len() < 100 {
                        thread::sleep(std::time::Duration::from_millis(20));
                    }
                }
            });
            scope.spawn(move || {
                let mut said = String::new();
                let _ = BufReader::new(peer).read_line(&mut said);
                assert!(said.starts_with(&format!("HTTP/1.0 {status} ")), "{chunk:?}, {status}: {said:?}");
            });
        }
    });
}

#[test]
fn peers_that_say_nothing_are_let_go() {
    let orchestrator = Orchestrator::start(&[]);
    let silent: Vec<_> = (0..80)
        .map(|it| {
            let mut peer = TcpStream::connect(orchestrator.address()).unwrap();
            // Some of them begin, and never end.
            if it % 2 == 0 {
                peer.write_all(b"GET /health HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n").unwrap();
            }
            peer
        })
        .collect();
    assert_eq!(ask("GET", &orchestrator.url("/health"), None, None).unwrap().0, 200);
    drop(silent);
}
