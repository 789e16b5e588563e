//! The scanning thread and the delivery thread themselves, under every order in which rescans, events and a stop can come.
//!
//! The directory is a real one, and stays empty.

use loom::sync::atomic::AtomicUsize;
use loom::thread::spawn;

use super::*;
use crate::deliver::loom_tests::{every_order, parcels};
use crate::watcher::threads::deliver;

fn settings(dir: &std::path::Path) -> Settings {
    Settings { runtime_dir: dir.to_owned(), poll_interval: Duration::from_secs(3600), ..Settings::default() }
}

/// As `run` does, but for the guard: what fails here is to be seen.
fn start(settings: &Settings) -> (Arc<Shared>, impl FnOnce() + 'static) {
    let (shared, ear) = Shared::new(settings);
    let mut worker = Worker::new(settings.clone(), shared.clone(), ear);
    (shared.clone(), move || {
        worker.work();
        shared.end(None);
    })
}

#[test]
fn a_rescan_is_always_answered() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(dir.path());
    every_order(2, move || {
        let (shared, work) = start(&settings);
        let worker = spawn(work);
        let host = shared.clone();
        let host = spawn(move || host.rescan());
        shared.stop();
        if let Err(error) = host.join().unwrap() {
            assert_eq!(error.kind(), ErrorKind::Stopped);
        }
        worker.join().unwrap();
        assert_eq!(shared.rescan().unwrap_err().kind(), ErrorKind::Stopped);
    });
}

#[test]
fn a_rescan_needs_no_stop_to_be_answered() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(dir.path());
    every_order(2, move || {
        let (shared, work) = start(&settings);
        let worker = spawn(work);
        shared.rescan().unwrap();
        // What was there has been told by then.
        assert_eq!(shared.next(Some(Duration::ZERO)).unwrap(), HandoffEvent::Synced);
        shared.stop();
        worker.join().unwrap();
        assert_eq!(shared.next(None), Err(NextError::Stopped));
    });
}

/// A stop ends all who wait, whoever they are and whatever for.
#[test]
fn a_stop_ends_every_wait() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(dir.path());
    every_order(2, move || {
        let (shared, work) = start(&settings);
        let worker = spawn(work);
        let host = shared.clone();
        let host = spawn(move || {
            while host.next(None).is_ok() {}
            assert!(host.is_stopped());
            assert!(!host.registry.wait_ready("p", Duration::MAX));
        });
        shared.stop();
        assert!(shared.is_stopped());
        worker.join().unwrap();
        host.join().unwrap();
    });
}

/// What was on its way into the callback at the moment of the stop may still be called; nothing after it.
#[test]
fn after_a_stop_at_most_the_call_that_was_under_way_is_made() {
    let parcels: [_; 3] = parcels();
    every_order(4, move || {
        let (shared, _ear) = Shared::new(&Settings::default());
        let calls = Arc::new(AtomicUsize::new(0));
        let (called, delivering) = (calls.clone(), shared.clone());
        let delivery = spawn(move || {
            let callback: crate::watcher::EventCallback = Box::new(move |_| {
                called.fetch_add(1, Ordering::SeqCst);
                Ok(())
            });
            deliver(&delivering, &callback, &Log::default());
        });
        parcels.iter().for_each(|parcel| shared.channel.offer(parcel.clone()));
        shared.stop();
        let before = calls.load(Ordering::SeqCst);
        delivery.join().unwrap();
        let after = calls.load(Ordering::SeqCst);
        assert!(after <= before + 1, "{before} before the stop, {after} after it");
    });
}

#[test]
fn nothing_is_called_after_a_stop_from_inside_the_callback() {
    let parcels: [_; 2] = parcels();
    every_order(4, move || {
        let (shared, _ear) = Shared::new(&Settings::default());
        let calls = Arc::new(AtomicUsize::new(0));
        let (called, delivering) = (calls.clone(), shared.clone());
        let delivery = spawn(move || {
            let stopping = delivering.clone();
            let callback: crate::watcher::EventCallback = Box::new(move |_| {
                called.fetch_add(1, Ordering::SeqCst);
                stopping.stop();
                Ok(())
            });
            deliver(&delivering, &callback, &Log::default());
        });
        parcels.iter().for_each(|parcel| shared.channel.offer(parcel.clone()));
        delivery.join().unwrap();
        assert_eq!(calls.load(Ordering::SeqCst), 1);
    });
}
