//! Sockets that are lost before they have resumed the connection.

use std::time::{Duration, Instant};

use wsmux_testing::{
    cutter::Cut,
    interop::{Echo, get_echo},
};

use super::{connect_plain, connect_tls, place::Ends, resumed, suspended};

/// Cuts the connection's socket, and then also the new socket with which the client comes back.
/// Each element of `limits` is the number of bytes after which a new socket is cut.
async fn cut_twice(ends: &Ends, limits: impl Iterator<Item = u64>) -> u64 {
    let _echo = Echo::start(&ends.server);
    get_echo(&ends.client, 1, 100).await;
    let mut in_vain = 0;
    for limit in limits {
        let (dials, mut events) = (ends.cutter.accepted(), ends.client.events());
        ends.cutter.limit_next(limit);
        ends.cutter.cut(if limit % 2 == 0 { Cut::Reset } else { Cut::End });
        get_echo(&ends.client, limit as u8, 3000).await;
        // The echo may have arrived before the cut.
        suspended(&mut events).await;
        resumed(&mut events).await;
        in_vain += ends.cutter.accepted() - dials - 1;
    }
    in_vain
}

/// How many connections are tested in parallel. This saves time, because each connection mostly
/// waits in pauses between dials.
const AT_ONCE: usize = 8;

/// The upgrade and the request to resume need fewer bytes than this.
const PLAIN: u64 = 1400;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_anywhere_in_the_upgrade_or_the_request_does_no_harm() {
    let mut all = tokio::task::JoinSet::new();
    for first in 0..AT_ONCE {
        all.spawn(async move {
            let limits = (0..PLAIN).step_by(17).skip(first).step_by(AT_ONCE);
            cut_twice(&connect_plain().await, limits).await
        });
    }
    let in_vain: u64 = all.join_all().await.into_iter().sum();
    println!("{in_vain} dials in vain");
    assert!(in_vain >= 30, "{in_vain} dials in vain");
}

/// The TLS handshake, the upgrade and the request need fewer bytes than this.
const OVER_TLS: u64 = 4500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_anywhere_in_the_tls_handshake_does_no_harm() {
    let mut all = tokio::task::JoinSet::new();
    for first in 0..AT_ONCE {
        all.spawn(async move {
            let limits = (0..OVER_TLS).step_by(61).skip(first).step_by(AT_ONCE);
            cut_twice(&connect_tls().await, limits).await
        });
    }
    let in_vain: u64 = all.join_all().await.into_iter().sum();
    println!("{in_vain} dials in vain");
    assert!(in_vain >= 30, "{in_vain} dials in vain");
}

/// A proxy may open each WebSocket and lose it again at once. The client must not dial as fast as it
/// can.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_that_open_and_are_lost_are_dialled_with_pauses() {
    let ends = connect_plain().await;
    let _echo = Echo::start(&ends.server);
    get_echo(&ends.client, 1, 100).await;
    // With this limit the WebSocket opens, but the request to resume or its answer is cut off.
    let limit = limit_of_opened(&ends).await;
    const LOST: u32 = 4;
    for _ in 0..LOST {
        ends.cutter.limit_next(limit);
    }
    let (dials, start) = (ends.cutter.accepted(), Instant::now());
    ends.cutter.cut(Cut::Reset);
    get_echo(&ends.client, 2, 100).await;
    assert_eq!(ends.cutter.accepted() - dials, u64::from(LOST) + 1);
    // The pauses are random. On average their sum is nearly 2 s.
    assert!(start.elapsed() > Duration::from_millis(20), "{:?}", start.elapsed());
}

/// Returns a number of bytes after which a new WebSocket is open but has not resumed the
/// connection.
async fn limit_of_opened(ends: &Ends) -> u64 {
    let mut events = ends.client.events();
    let accepted = ends.cutter.accepted();
    let before = ends.cutter.total();
    ends.cutter.cut(Cut::Reset);
    super::suspended(&mut events).await;
    super::resumed(&mut events).await;
    assert_eq!(ends.cutter.accepted(), accepted + 1);
    // Without the last 100 bytes, a part of the request or of the answer is cut off.
    ends.cutter.total() - before - 100
}
