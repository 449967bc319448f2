//! Connections lose their sockets in every possible way while they carry data.

use tokio::task::JoinSet;
use wsmux_testing::{
    cutter::Cut,
    interop::{Echo, KIB, MIB, get_echo},
};

use super::{connect_plain, connect_tls, kill_at_random, place::Ends, resumed, suspended};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_go_on_after_a_lost_socket() {
    for cut in [Cut::Reset, Cut::End] {
        for ends in [connect_plain().await, connect_tls().await] {
            let _echo = Echo::start(&ends.server);
            get_echo(&ends.client, 1, 100).await;
            let mut events = ends.client.events();
            let mut transfer = JoinSet::new();
            let client = ends.client.clone();
            transfer.spawn(async move { get_echo(&client, 2, 8 * MIB).await });
            ends.cutter.forwarded(MIB).await;
            ends.cutter.cut(cut);
            suspended(&mut events).await;
            resumed(&mut events).await;
            transfer.join_next().await.unwrap().unwrap();
            assert_eq!(ends.client.session_stats().resumptions, 1);
            assert_eq!(ends.server.session_stats().resumptions, 1);
        }
    }
}

/// The server does not notice the loss. Its old socket is still open when the client comes back
/// with a new socket.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_go_on_after_a_loss_that_the_server_did_not_notice() {
    for ends in [connect_plain().await, connect_tls().await] {
        let _echoes = [Echo::start(&ends.server), Echo::start(&ends.client)];
        for seed in 0..5 {
            let mut transfers = JoinSet::new();
            for connection in [&ends.client, &ends.server] {
                let connection = connection.clone();
                transfers.spawn(async move { get_echo(&connection, seed, 4 * MIB).await });
            }
            ends.cutter.forwarded(MIB + u64::from(seed) * 17_117).await;
            ends.cutter.cut(Cut::Client);
            while let Some(done) = transfers.join_next().await {
                done.expect("every byte comes back");
            }
        }
        assert_eq!(ends.client.session_stats().resumptions, 5);
    }
}

/// Runs transfers in both directions, while `cutting` cuts the connection.
async fn transfer_beside(ends: &Ends, kilobytes: u64, cutting: impl Future<Output = ()>) {
    let _echoes = [Echo::start(&ends.server), Echo::start(&ends.client)];
    let mut jobs = JoinSet::new();
    for seed in 0..8 {
        for connection in [&ends.client, &ends.server] {
            let connection = connection.clone();
            jobs.spawn(async move {
                for round in 0..4 {
                    get_echo(&connection, seed + round, kilobytes * KIB).await;
                }
            });
        }
    }
    let working = async {
        while let Some(done) = jobs.join_next().await {
            done.expect("every byte comes back");
        }
    };
    tokio::select! {
        () = working => {}
        () = cutting => {}
    }
    let stats = ends.client.session_stats();
    println!("{stats:?}, {} dials", ends.cutter.accepted());
    assert!(stats.resumptions >= 3, "{stats:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_byte_is_lost_or_repeated_by_fifty_kills() {
    let ends = connect_plain().await;
    let killing = async {
        for nth in 0..50 {
            // Each cut comes at a different place in the messages.
            ends.cutter.forwarded(10 * KIB + nth % 50 * 17_117).await;
            ends.cutter.cut(if nth % 2 == 0 { Cut::Reset } else { Cut::End });
        }
        std::future::pending().await
    };
    transfer_beside(&ends, 700, killing).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_byte_is_lost_or_repeated_by_kills_at_random_places() {
    for (seed, ends) in [(1, connect_plain().await), (2, connect_tls().await)] {
        transfer_beside(&ends, 300, kill_at_random(&ends.cutter, seed, 1..600_000)).await;
    }
}
