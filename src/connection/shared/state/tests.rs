//! Tests in which the state holds wakers that are not tokio's. A driver that runs under tokio has a
//! waker of tokio, so these tests have no driver.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    task::Wake,
    thread,
};

use bytes::Bytes;
use wsmux_proto::{Config, Side, VarInt, Wire};

use super::*;
use crate::{
    connection::{
        ConnectionInfo, SendStream,
        shared::{ConnectionRef, Shared},
    },
    runtime::Instant,
};

/// A task that owns a stream. The task's waker is the last owner of the task, so dropping the waker
/// drops the stream.
struct Owner(#[expect(dead_code, reason = "to be dropped")] Mutex<SendStream>);

impl Wake for Owner {
    fn wake(self: Arc<Self>) {}
}

/// A connection without a driver.
struct Sleeper {
    shared: Arc<Shared>,
    handle: ConnectionRef,
}

impl Sleeper {
    fn new() -> Self {
        let engine = Connection::new(Config::default(), Side::Client, Wire::JsWs, Time::EPOCH);
        let shared =
            Shared::new(Session::new(engine, None), Instant::now(), ConnectionInfo::default());
        shared.dispatch(&mut shared.lock());
        Self { handle: ConnectionRef::new(shared.clone()), shared }
    }

    /// Stores the waker of a sleeping driver. The waker owns a stream.
    fn sleep(&self) -> std::sync::Weak<Owner> {
        let id = self.shared.lock().engine_mut().open(Dir::Bi).unwrap().unwrap();
        let owner = Arc::new(Owner(Mutex::new(SendStream::new(id, self.handle.clone()))));
        let weak = Arc::downgrade(&owner);
        let waker = owner.into();
        assert!(self.shared.lock().driver_sleeps(&waker, true));
        weak
    }
}

/// Runs the scenario in a thread of its own, because a scenario that fails deadlocks.
fn must_end(scenario: impl FnOnce(Sleeper) + Send + 'static) {
    let (done, outcome) = mpsc::channel();
    thread::spawn(move || {
        scenario(Sleeper::new());
        done.send(()).unwrap();
    });
    assert_eq!(outcome.recv_timeout(Duration::from_secs(60)), Ok(()), "it waits for itself");
}

/// [C-87] A waker MUST NOT be woken or dropped while the lock of a connection is held.
#[test]
fn the_drivers_waker_is_woken_and_dropped_without_the_lock() {
    must_end(|sleeper| {
        let task = sleeper.sleep();
        assert_eq!(task.strong_count(), 1);
        sleeper.handle.close(VarInt::from_u32(0), Bytes::new());
        assert_eq!(task.strong_count(), 0);
    });
    must_end(|sleeper| {
        let task = sleeper.sleep();
        // Another waker replaces the stored waker.
        assert!(sleeper.shared.lock().driver_sleeps(Waker::noop(), true));
        assert_eq!(task.strong_count(), 0);
    });
    must_end(|sleeper| {
        let task = sleeper.sleep();
        sleeper.shared.lock().finish();
        assert_eq!(task.strong_count(), 0);
    });
    must_end(|sleeper| {
        let task = sleeper.sleep();
        let mut state = sleeper.shared.lock();
        state.driver.as_mut().unwrap().socket_is_full = false;
        assert!(state.session.wants_transmit(), "the peer sees a stream at once");
        state.wake_driver();
        drop(state);
        assert_eq!(task.strong_count(), 0);
    });
}

#[test]
fn one_waker_that_panics_does_not_keep_the_others_from_being_woken() {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("on demand");
        }
    }
    struct Counts(AtomicUsize);
    impl Wake for Counts {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    let sleeper = Sleeper::new();
    let counts = Arc::new(Counts(AtomicUsize::new(0)));
    let counting: Waker = counts.clone().into();
    let mut state = sleeper.shared.lock();
    let wakers = [counting.clone(), Arc::new(Panics).into(), counting.clone(), counting];
    state.wakeups.wake(wakers);
    let woken = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(state)));
    assert!(woken.is_err());
    assert_eq!(counts.0.load(Ordering::Relaxed), 3);
    assert!(sleeper.shared.lock().wakeups.is_empty());
}
