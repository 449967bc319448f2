//! In the layers above the engine, the longest possible durations mean "never".

use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use wsmux::{Config, ConnectionError, Side, VarInt, socket::memory_pair};

use super::pair::{WIRES, config, connection, memory};

/// Runs the case in a new runtime of each kind.
fn in_fresh_runtimes(case: impl AsyncFn()) {
    // If the case waited for one of the longest durations, it would never end.
    const WATCHDOG: Duration = Duration::from_secs(30);
    let run = |runtime: Runtime| {
        let watched = async { tokio::time::timeout(WATCHDOG, case()).await };
        runtime.block_on(watched).expect("it waits in vain");
        // Dropping the runtime must not wait for one of the longest durations either.
        drop(runtime);
    };
    run(Builder::new_current_thread().enable_all().build().unwrap());
    run(Builder::new_multi_thread().enable_all().build().unwrap());
}

fn longest() -> Config {
    config(|config| {
        let never = Duration::MAX;
        config.max_idle_timeout(Some(never)).keep_alive_interval(Some(never));
        config.handshake_timeout(never).close_timeout(never);
    })
}

/// [C-81] A duration that the application or the peer sets MUST NOT cause a panic, however long the
/// duration is. If no clock can reach a deadline, there is no deadline.
#[test]
fn a_connection_of_the_longest_times_closes_and_drops_as_any_other() {
    for (wire, drops) in WIRES.into_iter().flat_map(|wire| [(wire, false), (wire, true)]) {
        in_fresh_runtimes(async || {
            let (client, server) = memory(wire, &longest()).await;
            let mut stream = client.open_bi().await.unwrap();
            stream.send().write_all(b"in time").await.unwrap();
            drop(server.accept_bi().await.unwrap());
            if drops {
                drop((stream, client));
            } else {
                client.close(VarInt::from_u32(7), b"");
                assert!(matches!(client.closed().await, ConnectionError::LocallyClosed));
            }
            assert!(matches!(server.closed().await, ConnectionError::ApplicationClosed(_)));
        });
    }
}

/// [C-81] A duration that the application or the peer sets MUST NOT cause a panic, however long the
/// duration is. If no clock can reach a deadline, there is no deadline.
#[test]
fn an_unanswered_close_holds_up_neither_its_caller_nor_the_runtime() {
    for (wire, drops) in WIRES.into_iter().flat_map(|wire| [(wire, false), (wire, true)]) {
        in_fresh_runtimes(async || {
            // This peer sends nothing.
            let (socket, _silent) = memory_pair(64 * 1024);
            let client = connection(socket, Side::Client, wire, &longest());
            tokio::task::yield_now().await;
            if drops {
                return drop(client);
            }
            client.close(VarInt::from_u32(7), b"");
            assert!(matches!(client.close_reason(), Some(ConnectionError::LocallyClosed)));
            assert!(client.open_bi().await.is_err());
        });
    }
}

#[test]
fn the_longest_drain_waits_for_its_streams_alone() {
    for wire in WIRES {
        in_fresh_runtimes(async || {
            let (client, server) = memory(wire, &longest()).await;
            client.drain_timeout(Duration::MAX);
            assert!(matches!(client.closed().await, ConnectionError::LocallyClosed));
            assert!(matches!(server.closed().await, ConnectionError::ApplicationClosed(_)));
        });
    }
}
