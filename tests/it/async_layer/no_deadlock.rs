//! Both ends write without reading, through a socket whose buffer is very small.

use futures_util::future::join_all;
use wsmux::{Config, Side, WebSocketConnection, WebSocketStream, Wire, socket::memory_pair};

use super::{
    bytes::{read_expected, write_expected},
    hand::give_up_after,
    pair::{WIRES, config, over, quiet, websocket},
};

const STREAMS: usize = 20;
const COUNT: usize = 300_000;

fn small() -> Config {
    config(|config| {
        config.stream_receive_window(20_000).send_buffer(10_000);
    })
}

/// Opens streams from both sides. Returns the client's ends and the server's ends of all streams.
async fn streams(
    client: &WebSocketConnection,
    server: &WebSocketConnection,
) -> (Vec<WebSocketStream>, Vec<WebSocketStream>) {
    let (mut left, mut right) = (Vec::new(), Vec::new());
    for _ in 0..STREAMS / 2 {
        for (opener, accepter, at_opener, at_accepter) in
            [(client, server, 0, 1), (server, client, 1, 0)]
        {
            let mut stream = opener.open_bi().await.unwrap();
            stream.send().announce();
            let mut ends = [Some(stream), Some(accepter.accept_bi().await.unwrap())];
            left.extend(ends[at_opener].take());
            right.extend(ends[at_accepter].take());
        }
    }
    (left, right)
}

async fn write_first_and_read_later((client, server): (WebSocketConnection, WebSocketConnection)) {
    let (left, right) = streams(&client, &server).await;
    let mut readers = Vec::new();
    let mut writers = Vec::new();
    for (end, streams) in [left, right].into_iter().enumerate() {
        for (number, stream) in streams.into_iter().enumerate() {
            let (mut send, recv) = stream.into_split();
            writers.push(tokio::spawn(async move {
                write_expected(&mut send, 2 * number + end, COUNT).await;
                send.finish().unwrap();
            }));
            readers.push((recv, 2 * number + (1 - end)));
        }
    }
    // Nobody reads, so all writers come to a stop.
    while client.stats().send_buffered + server.stats().send_buffered < 200_000 {
        tokio::task::yield_now().await;
    }
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    assert!(writers.iter().all(|writer| !writer.is_finished()), "they wait");
    let read = join_all(readers.into_iter().map(|(mut recv, seed)| async move {
        assert_eq!(read_expected(&mut recv, seed).await, COUNT);
    }));
    read.await;
    for writer in writers {
        writer.await.unwrap();
    }
    assert!(client.close_reason().is_none() && server.close_reason().is_none());
}

#[tokio::test(start_paused = true)]
async fn both_ends_write_before_they_read_over_a_memory_of_one_kib() {
    for wire in WIRES {
        write_first_and_read_later(over(memory_pair(1_024), wire, &small()).await).await;
    }
}

#[tokio::test(start_paused = true)]
async fn both_ends_write_before_they_read_over_tungstenite_on_a_1_kib_pipe() {
    for wire in WIRES {
        let config = small();
        let (left, right) = tokio::io::duplex(1_024);
        let left = websocket(left, Side::Client, wire, &config).await;
        let right = websocket(right, Side::Server, wire, &config).await;
        write_first_and_read_later(over((left, right), wire, &config).await).await;
    }
}

/// Sends bytes to an echo, and checks what comes back.
async fn exchange(client: &WebSocketConnection, seed: usize, count: usize) {
    let (mut send, mut recv) = client.open_bi().await.unwrap().into_split();
    let write = async {
        write_expected(&mut send, seed, count).await;
        send.finish().unwrap();
    };
    assert_eq!(tokio::join!(write, read_expected(&mut recv, seed)).1, count);
}

#[tokio::test(start_paused = true)]
async fn a_pipe_of_64_bytes_is_enough_for_everything_at_once() {
    for wire in WIRES {
        let config = config(|config| {
            config.stream_receive_window(3_000).send_buffer(1_000).max_concurrent_bidi_streams(5);
        });
        let (left, right) = tokio::io::duplex(64);
        let left = websocket(left, Side::Client, wire, &config).await;
        let right = websocket(right, Side::Server, wire, &config).await;
        let (client, server) = &over((left, right), wire, &config).await;
        let echo = tokio::spawn({
            let server = server.clone();
            async move {
                while let Ok(stream) = server.accept_bi().await {
                    tokio::spawn(async move {
                        let (mut send, mut recv) = stream.into_split();
                        tokio::io::copy(&mut recv, &mut send).await.unwrap();
                        send.finish().unwrap();
                        let _ = send.stopped().await;
                    });
                }
            }
        });
        // On js-ws the client does not know the server's stream limit. So the test opens no more
        // than five streams at once.
        let at_once = if wire == Wire::QMux { 30 } else { 5 };
        for wave in 0..30 / at_once {
            let exchanges = (0..at_once).map(|number| async move {
                exchange(client, wave * at_once + number, 10_000).await;
            });
            join_all(exchanges).await;
            quiet().await;
        }
        client.close(wsmux::VarInt::default(), b"");
        client.closed().await;
        echo.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_socket_that_stood_still_goes_on_where_it_was() {
    for wire in WIRES {
        let (left, right) = memory_pair(1_024);
        let (stall_left, stall_right) = (left.stall(), right.stall());
        let (client, server) = over((left, right), wire, &Config::default()).await;
        let (mut left, mut right) = streams(&client, &server).await;
        for (number, stream) in left.iter_mut().enumerate() {
            write_expected(stream.send(), number, 10_000).await;
        }
        for round in 0..100 {
            // At both ends, writing and reading are stalled and released in changing combinations.
            stall_left.pause_writes(round % 2 == 0);
            stall_left.pause_reads(round % 3 == 0);
            stall_right.pause_writes(round % 4 == 0);
            stall_right.pause_reads(round % 5 == 0);
            quiet().await;
            let number = round % STREAMS;
            let data = [round as u8; 100];
            let taken = give_up_after(3, right[number].send().write(&data)).await;
            assert_eq!(taken.unwrap().unwrap(), 100);
        }
        for stall in [stall_left, stall_right] {
            stall.pause_reads(false);
            stall.pause_writes(false);
        }
        for stream in left.iter_mut().chain(&mut right) {
            stream.send().finish().unwrap();
        }
        for (number, (left, right)) in left.iter_mut().zip(&mut right).enumerate() {
            assert_eq!(read_expected(right.recv(), number).await, 10_000, "{wire:?}");
            let expected: Vec<u8> = (0..100)
                .filter(|round| round % STREAMS == number)
                .flat_map(|round| [round as u8; 100])
                .collect();
            assert_eq!(left.recv().read_to_end(1_000).await.unwrap(), expected, "{wire:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_tasks_on_several_threads_all_come_to_their_end() {
    for wire in WIRES {
        let config = config(|config| {
            config.stream_receive_window(20_000).send_buffer(7_000).max_concurrent_bidi_streams(40);
            config.keep_alive_interval(None).max_idle_timeout(None);
        });
        let (client, server) = over(memory_pair(30_000), wire, &config).await;
        let mut tasks = Vec::new();
        for (opener, accepter) in [(&client, &server), (&server, &client)] {
            for task in 0..8 {
                let (opener, accepter) = (opener.clone(), accepter.clone());
                tasks.push(tokio::spawn(async move {
                    for round in 0..50 {
                        // Each task opens streams. Each task also accepts and echoes the same
                        // number of streams, which may be the streams of other tasks.
                        let echo = async {
                            // If an accept is dropped, its stream goes to another task.
                            let given_up = give_up_after(round % 3, accepter.accept_bi()).await;
                            let stream = match given_up {
                                Some(stream) => stream,
                                None => accepter.accept_bi().await,
                            };
                            let (mut send, mut recv) = stream.unwrap().into_split();
                            tokio::io::copy(&mut recv, &mut send).await.unwrap();
                            send.finish().unwrap();
                        };
                        tokio::join!(exchange(&opener, task * 100 + round, 30_000), echo);
                    }
                }));
            }
        }
        for task in tasks {
            task.await.unwrap();
        }
        // The last frames of the streams are still in flight.
        while client.stats().live_streams + server.stats().live_streams > 0 {
            tokio::task::yield_now().await;
        }
    }
}
