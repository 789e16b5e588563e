//! The channel under every order in which a scanning thread, hosts, a stop and the time can come.

use std::time::Instant;

use loom::thread::{JoinHandle, spawn};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::*;
use crate::bell::Ear;
use crate::config::Settings;
use crate::error::{Error, ErrorKind};
use crate::listing::Listing;
use crate::reconcile::Reconciler;

const FAR: Duration = Duration::from_secs(3600);

/// Every order that takes at most so many turns away from a thread that could go on.
pub(crate) fn every_order(preemptions: usize, test: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(preemptions);
    builder.check(test);
}

/// What the core would send: a directory that goes and comes back.
pub(crate) fn parcels<const COUNT: usize>() -> [Parcel; COUNT] {
    let now = Instant::now();
    let mut core = Reconciler::new(now, &Settings::default());
    std::array::from_fn(|_| {
        loop {
            if let Some(parcel) = core.poll_event(true) {
                core.handle_ack(now, parcel.ticket, true);
                return parcel;
            }
            match core.unavailable_error() {
                None => core.handle_scan_error(now, Error::new(ErrorKind::Io, "gone")),
                Some(_) => core.handle_listing(now, now, &Listing::default()),
            }
            // Nothing is told before all is read.
            assert!(core.poll_read(now).is_none());
        }
    })
}

fn channel(capacity: usize, waiting: &[Parcel]) -> (Arc<Channel>, Ear) {
    let (bell, ear) = Bell::new();
    let channel = Channel::new(capacity, bell);
    waiting.iter().for_each(|parcel| channel.offer(parcel.clone()));
    (Arc::new(channel), ear)
}

fn next(channel: &Arc<Channel>, timeout: Option<Duration>) -> JoinHandle<Result<Ticket, NextError>> {
    let channel = channel.clone();
    spawn(move || channel.next(timeout).map(|parcel| parcel.ticket))
}

fn acks(channel: &Channel) -> Vec<Ticket> {
    let mut tickets: Vec<_> = channel.take_acks().into_iter().map(|ack| ack.ticket).collect();
    tickets.sort();
    tickets
}

/// Sleeps as the scanning thread does, until the bell.
fn sleep(ear: &mut Ear) {
    ear.wait(Instant::now() + FAR, false);
}

impl Channel {
    /// The descriptor says whether there is something to take.
    fn assert_level(&self) {
        let state = self.state.lock();
        let outside = state.readable.as_ref().expect("asked for").outside();
        let mut polled = [PollFd::new(&*outside, PollFlags::IN)];
        let raised = poll(&mut polled, Some(&Timespec::default())).expect("poll") == 1;
        assert_eq!(raised, !state.waiting.is_empty() || state.token.is_none());
    }
}

#[test]
fn what_is_revoked_is_not_delivered_and_what_is_delivered_is_not_revoked() {
    let [parcel] = parcels();
    every_order(5, move || {
        let (channel, _ear) = channel(1, std::slice::from_ref(&parcel));
        let host = next(&channel, Some(Duration::ZERO));
        let revoked = channel.revoke(parcel.ticket);
        let taken = host.join().unwrap();
        if revoked {
            assert_eq!((taken, acks(&channel)), (Err(NextError::Timeout), vec![]));
        } else {
            assert_eq!((taken, acks(&channel)), (Ok(parcel.ticket), vec![parcel.ticket]));
        }
        assert_eq!(acks(&channel), []);
    });
}

/// Whatever is revoked between, two who wait get one each of what is offered: nobody sleeps beside a parcel.
#[test]
fn two_who_wait_get_one_each() {
    let [first, second, third] = parcels();
    every_order(3, move || {
        let (channel, _ear) = channel(3, &[]);
        let hosts = [next(&channel, None), next(&channel, None)];
        channel.offer(first.clone());
        let revoked = channel.revoke(first.ticket);
        channel.offer(second.clone());
        let mut expected = vec![first.ticket, second.ticket];
        if revoked {
            channel.offer(third.clone());
            expected = vec![second.ticket, third.ticket];
        }
        let mut taken = hosts.map(|host| host.join().unwrap().expect("an event"));
        taken.sort();
        assert_eq!(taken, *expected);
        assert_eq!(acks(&channel), expected);
    });
}

/// A place that is free is free for good: what is revoked leaves nothing behind that fills the channel.
#[test]
fn regression_what_was_revoked_leaves_its_place() {
    let [first, second, third] = parcels();
    every_order(3, move || {
        let (channel, mut ear) = channel(1, std::slice::from_ref(&first));
        let host = channel.clone();
        let host = spawn(move || {
            let mut taken = Vec::new();
            while let Ok(parcel) = host.next(None) {
                taken.push(parcel.ticket);
                if parcel.ticket == third.ticket {
                    break;
                }
            }
            taken
        });
        let mut expected = if channel.revoke(first.ticket) { vec![] } else { vec![first.ticket] };
        for parcel in [&second, &third] {
            while channel.room().is_none() {
                sleep(&mut ear);
            }
            channel.offer(parcel.clone());
            expected.push(parcel.ticket);
        }
        assert_eq!(host.join().unwrap(), expected);
    });
}

#[test]
fn a_stop_wakes_everyone_and_nothing_is_taken_after_it() {
    let [parcel] = parcels();
    every_order(3, move || {
        let (channel, _ear) = channel(2, &[]);
        let hosts = [next(&channel, None), next(&channel, Some(FAR))];
        channel.offer(parcel.clone());
        channel.close();
        assert_eq!(channel.next(None).map(|parcel| parcel.ticket), Err(NextError::Stopped));
        channel.offer(parcel.clone());
        assert_eq!(channel.room(), None);
        assert_eq!(channel.next(Some(FAR)).map(|parcel| parcel.ticket), Err(NextError::Stopped));
        let taken = hosts.map(|host| host.join().unwrap());
        let stopped = taken.iter().filter(|taken| **taken == Err(NextError::Stopped)).count();
        assert!(stopped >= 1, "{taken:?}");
        assert_eq!(acks(&channel).len(), 2 - stopped);
    });
}

#[test]
fn a_wait_ends_by_its_time_and_what_comes_then_is_kept() {
    let [first, second] = parcels();
    every_order(4, move || {
        let (channel, _ear) = channel(2, &[]);
        let host = next(&channel, Some(FAR));
        let clock = channel.clone();
        let clock = spawn(move || clock.tokens.expire());
        channel.offer(first.clone());
        let revoked = channel.revoke(first.ticket);
        channel.offer(second.clone());
        let mut left = vec![second.ticket];
        if !revoked {
            left.insert(0, first.ticket);
        }
        if let Ok(taken) = host.join().unwrap() {
            assert_eq!(left.remove(0), taken);
        }
        clock.join().unwrap();
        for left in left {
            assert_eq!(channel.next(Some(Duration::ZERO)).map(|parcel| parcel.ticket), Ok(left));
        }
        assert_eq!(channel.next(Some(FAR)).map(|parcel| parcel.ticket), Err(NextError::Timeout));
    });
}

#[test]
fn a_wait_for_nothing_ends_by_its_time() {
    let [parcel] = parcels();
    every_order(5, move || {
        let (channel, _ear) = channel(1, std::slice::from_ref(&parcel));
        let host = next(&channel, Some(FAR));
        let clock = channel.clone();
        let clock = spawn(move || clock.tokens.expire());
        let expected = if channel.revoke(parcel.ticket) { Err(NextError::Timeout) } else { Ok(parcel.ticket) };
        assert_eq!(host.join().unwrap(), expected);
        clock.join().unwrap();
    });
}

#[test]
fn each_ack_is_heard_once() {
    let [first, second] = parcels();
    every_order(4, move || {
        let (channel, mut ear) = channel(2, &[first.clone(), second.clone()]);
        let hosts = [next(&channel, None), next(&channel, None)];
        let mut heard = Vec::new();
        // Woken by the bell alone, as the scanning thread.
        while heard.len() < 2 {
            heard.append(&mut acks(&channel));
            if heard.len() < 2 {
                sleep(&mut ear);
            }
        }
        heard.sort();
        assert_eq!(heard, [first.ticket, second.ticket]);
        hosts.into_iter().for_each(|host| assert!(host.join().unwrap().is_ok()));
        assert_eq!(acks(&channel), []);
    });
}

/// Though many wait, for whom the bell is spared; and though the scanning thread was woken by something else meanwhile.
#[test]
fn regression_the_ack_that_is_waited_for_rings() {
    let parcels: [Parcel; 6] = parcels();
    every_order(3, move || {
        let (channel, mut ear) = channel(6, &parcels);
        let hosts = [next(&channel, None), next(&channel, None)];
        let first = parcels[0].ticket;
        if !channel.revoke(first) {
            // Acks are heard before the next thing to revoke is found: after it, only the bell makes the thread look again.
            let mut heard = Vec::new();
            while !heard.contains(&first) {
                sleep(&mut ear);
                heard.append(&mut acks(&channel));
            }
        }
        hosts.into_iter().for_each(|host| assert!(host.join().unwrap().is_ok()));
    });
}

#[test]
fn the_descriptor_tells_whether_there_is_something_to_take() {
    let [first, second, third] = parcels();
    every_order(2, move || {
        let (channel, _ear) = channel(3, std::slice::from_ref(&first));
        let host = channel.clone();
        let host = spawn(move || {
            host.readable().unwrap();
            let _ = host.next(Some(Duration::ZERO));
            host.assert_level();
            let _ = host.next(Some(Duration::ZERO));
            host.assert_level();
        });
        channel.readable().unwrap();
        channel.revoke(first.ticket);
        channel.assert_level();
        channel.offer(second.clone());
        channel.assert_level();
        channel.revoke(second.ticket);
        channel.assert_level();
        channel.offer(third.clone());
        channel.close();
        channel.assert_level();
        host.join().unwrap();
        channel.assert_level();
    });
}
