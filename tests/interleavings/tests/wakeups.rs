//! Checks that no wake-up is lost, in whatever order the handles and the drivers run their steps.
//! If a wake-up is lost, the task that waits for it deadlocks, and shuttle reports the schedule
//! that led to the deadlock.
//!
//! A step is the code between two uses of a lock of `src/runtime/sync.rs`. These locks guard the
//! state of the connection and the memory socket. Time stands still, so no timer can replace a lost
//! wake-up.
#![cfg(shuttle)]

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
};

use bytes::Bytes;
use shuttle::{
    Runner,
    future::block_on,
    scheduler::{PctScheduler, RandomScheduler, Scheduler},
    thread,
};
use wsmux::{
    Config, ConnectionInfo, ReadError, Side, VarInt, WebSocketConnection, Wire, WriteError,
    socket::memory_pair,
};

const WIRES: [Wire; 2] = [Wire::QMux, Wire::JsWs];
const SEED: u64 = 0x5eed;

/// The PCT scheduler looks for faults that need at most this many preemptions. Most faults need two
/// or three preemptions (Burckhardt et al., "A randomized scheduler with probabilistic guarantees
/// of finding bugs").
const PCT_DEPTH: usize = 3;

/// A write of `LEN` bytes exceeds the window and the send buffer, so the writer has to wait.
const WINDOW: u64 = 60;
const SEND_BUFFER: usize = 25;
const LEN: usize = 150;

/// The number of iterations for each wire and each scheduler, unless the environment sets another
/// number.
fn iterations() -> usize {
    let asked = std::env::var("SHUTTLE_ITERATIONS").ok().and_then(|asked| asked.parse().ok());
    asked.unwrap_or(300)
}

fn config() -> shuttle::Config {
    let mut config = shuttle::Config::new();
    // The futures of debug builds are large, so each task needs a large stack.
    config.stack_size = 0x8_0000;
    config
}

fn run(scheduler: impl Scheduler + 'static, scenario: fn(Wire), wire: Wire) {
    // tokio's clock needs a runtime. This runtime never runs, so its clock stands still.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let _entered = runtime.enter();
    Runner::new(scheduler, config()).run(move || scenario(wire));
}

fn explore(scenario: fn(Wire), wires: &[Wire]) {
    for &wire in wires {
        run(RandomScheduler::new_from_seed(SEED, iterations()), scenario, wire);
        run(PctScheduler::new_from_seed(SEED, PCT_DEPTH, iterations()), scenario, wire);
    }
}

fn small(streams: u64) -> Config {
    let mut config = Config::default();
    config
        .stream_receive_window(WINDOW)
        .max_stream_receive_window(0)
        .window_growth_budget(0)
        .send_buffer(SEND_BUFFER)
        .max_concurrent_bidi_streams(streams)
        .max_idle_timeout(None)
        .keep_alive_interval(None);
    config
}

/// Returns a client, and a server that lets it open `streams` streams.
fn pair(wire: Wire, streams: u64) -> [WebSocketConnection; 2] {
    let (left, right) = memory_pair(50);
    let info = ConnectionInfo::default;
    let client = WebSocketConnection::from_socket(left, Side::Client, wire, small(4), info());
    let server =
        WebSocketConnection::from_socket(right, Side::Server, wire, small(streams), info());
    [client, server]
}

/// Closes the client, and waits until both drivers have ended.
fn finish([client, server]: [WebSocketConnection; 2]) {
    client.close(VarInt::from_u32(0), b"");
    block_on(client.closed());
    block_on(server.closed());
}

fn code(code: u32) -> VarInt {
    VarInt::from_u32(code)
}

#[test]
fn bytes_credit_and_the_end_of_a_stream_wake_who_waits_for_them() {
    fn scenario(wire: Wire) {
        let [client, server] = pair(wire, 1);
        let writer = thread::spawn({
            let client = client.clone();
            move || {
                let (mut send, mut recv) = block_on(client.open_bi()).unwrap().into_split();
                block_on(send.write_all(&[7; LEN])).unwrap();
                send.finish().unwrap();
                assert_eq!(block_on(send.stopped()).unwrap(), None);
                assert_eq!(block_on(recv.read_to_end(LEN)).unwrap(), [8; LEN]);
            }
        });
        let (mut send, mut recv) = block_on(server.accept_bi()).unwrap().into_split();
        assert_eq!(block_on(recv.read_to_end(LEN)).unwrap(), [7; LEN]);
        block_on(send.write_all(&[8; LEN])).unwrap();
        send.finish().unwrap();
        writer.join().unwrap();
        finish([client, server]);
    }
    explore(scenario, &WIRES);
}

#[test]
fn a_dropped_sender_wakes_the_reader_and_a_dropped_reader_the_writer() {
    fn scenario(wire: Wire) {
        let [client, server] = pair(wire, 1);
        let opener = thread::spawn({
            let client = client.clone();
            move || {
                let (mut send, recv) = block_on(client.open_bi()).unwrap().into_split();
                block_on(send.write_all(&[7; 10])).unwrap();
                let ended = thread::spawn({
                    let stopped = send.stopped();
                    move || block_on(stopped)
                });
                let error = block_on(send.write_all(&[7; LEN])).unwrap_err();
                assert!(matches!(error, WriteError::Stopped(by) if by == code(0)), "{error}");
                assert_eq!(ended.join().unwrap().unwrap(), Some(code(0)));
                drop(recv);
            }
        });
        let (send, mut recv) = block_on(server.accept_bi()).unwrap().into_split();
        let dropped = thread::spawn(move || {
            block_on(recv.read_exact(&mut [0; 10])).unwrap();
            drop(recv);
        });
        assert_eq!(block_on(send.stopped()).unwrap(), Some(code(0)));
        drop(send);
        dropped.join().unwrap();
        opener.join().unwrap();
        finish([client, server]);
    }
    explore(scenario, &WIRES);
}

#[test]
fn a_reset_wakes_the_reader_and_a_stop_the_writer() {
    fn scenario(wire: Wire) {
        let [client, server] = pair(wire, 1);
        let opener = thread::spawn({
            let client = client.clone();
            move || {
                let (mut send, mut recv) = block_on(client.open_bi()).unwrap().into_split();
                let reader = thread::spawn(move || block_on(recv.read_chunk(100)).unwrap_err());
                let error = block_on(send.write_all(&[7; LEN])).unwrap_err();
                assert!(matches!(error, WriteError::Stopped(by) if by == code(5)), "{error}");
                let error = reader.join().unwrap();
                assert!(matches!(error, ReadError::Reset(by) if by == code(6)), "{error}");
            }
        });
        let (mut send, mut recv) = block_on(server.accept_bi()).unwrap().into_split();
        let stopper = thread::spawn(move || recv.stop(code(5)).unwrap());
        send.reset(code(6)).unwrap();
        stopper.join().unwrap();
        opener.join().unwrap();
        finish([client, server]);
    }
    explore(scenario, &WIRES);
}

/// Starts six tasks that wait: to write, to read, for the end of a sending half, to open a stream,
/// to accept a stream, and for a datagram. None of these events ever happens.
fn all_wait(client: &WebSocketConnection) -> Vec<thread::JoinHandle<()>> {
    let (mut send, mut recv) = block_on(client.open_bi()).unwrap().into_split();
    let stopped = send.stopped();
    let others = [client.clone(), client.clone(), client.clone()];
    let [opener, acceptor, third] = others;
    vec![
        thread::spawn(move || drop(block_on(send.write_all(&[7; LEN])).unwrap_err())),
        thread::spawn(move || drop(block_on(recv.read_chunk(100)).unwrap_err())),
        thread::spawn(move || drop(block_on(stopped).unwrap_err())),
        thread::spawn(move || drop(block_on(opener.open_bi()).unwrap_err())),
        thread::spawn(move || drop(block_on(acceptor.accept_bi()).unwrap_err())),
        thread::spawn(move || drop(block_on(third.read_datagram()).unwrap_err())),
    ]
}

#[test]
fn a_close_here_wakes_all_who_wait() {
    fn scenario(wire: Wire) {
        let [client, server] = pair(wire, 1);
        let waiting = all_wait(&client);
        let closing = client.clone();
        let closer = thread::spawn(move || closing.close(code(3), b"enough"));
        waiting.into_iter().for_each(|waiting| waiting.join().unwrap());
        closer.join().unwrap();
        block_on(client.closed());
        block_on(server.closed());
    }
    // On js-ws the task that opens a stream would not wait, because opening a stream never has to
    // wait on that wire.
    explore(scenario, &[Wire::QMux]);
}

#[test]
fn a_close_there_wakes_all_who_wait() {
    fn scenario(wire: Wire) {
        let [client, server] = pair(wire, 1);
        let waiting = all_wait(&client);
        server.close(code(3), b"enough");
        waiting.into_iter().for_each(|waiting| waiting.join().unwrap());
        block_on(client.closed());
        block_on(server.closed());
    }
    explore(scenario, &[Wire::QMux]);
}

#[test]
fn the_last_two_handles_dropped_at_once_close_the_connection() {
    fn scenario(wire: Wire) {
        let [client, server] = pair(wire, 1);
        let (send, recv) = block_on(client.open_bi()).unwrap().into_split();
        let droppers = [
            thread::spawn(move || drop(client)),
            thread::spawn(move || drop(send)),
            thread::spawn(move || drop(recv)),
        ];
        block_on(server.closed());
        droppers.into_iter().for_each(|dropper| dropper.join().unwrap());
    }
    explore(scenario, &WIRES);
}

#[test]
fn a_raised_limit_wakes_those_who_wait_to_open_in_turn() {
    fn scenario(wire: Wire) {
        let [client, server] = pair(wire, 0);
        let openers: Vec<_> = (0..2)
            .map(|_| {
                let client = client.clone();
                thread::spawn(move || drop(block_on(client.open_bi()).unwrap()))
            })
            .collect();
        let raising = server.clone();
        let raiser = thread::spawn(move || {
            raising.set_max_concurrent_bi_streams(1);
            raising.set_max_concurrent_bi_streams(2);
        });
        openers.into_iter().for_each(|opener| opener.join().unwrap());
        raiser.join().unwrap();
        finish([client, server]);
    }
    explore(scenario, &[Wire::QMux]);
}

#[test]
fn a_place_that_is_given_up_goes_to_whoever_waits_behind_it() {
    fn scenario(wire: Wire) {
        let [client, server] = pair(wire, 0);
        let impatient = thread::spawn({
            let client = client.clone();
            move || {
                let mut open = pin!(client.open_bi());
                let _ = block_on(poll_fn(|cx| Poll::Ready(open.as_mut().poll(cx).is_ready())));
                thread::yield_now();
            }
        });
        let patient = thread::spawn({
            let client = client.clone();
            move || drop(block_on(client.open_bi()).unwrap())
        });
        let freeing = server.clone();
        let raiser = thread::spawn(move || {
            freeing.set_max_concurrent_bi_streams(1);
            // Each stream that the client opened and dropped makes room for another stream.
            while block_on(freeing.accept_bi()).is_ok() {}
        });
        impatient.join().unwrap();
        patient.join().unwrap();
        finish([client, server]);
        raiser.join().unwrap();
    }
    explore(scenario, &[Wire::QMux]);
}

#[test]
fn a_window_that_is_made_larger_wakes_the_writer() {
    fn scenario(wire: Wire) {
        let [client, server] = pair(wire, 1);
        let writer = thread::spawn({
            let client = client.clone();
            move || {
                let mut stream = block_on(client.open_bi()).unwrap();
                block_on(stream.split().0.write_all(&[7; LEN])).unwrap();
                stream
            }
        });
        server.set_stream_receive_window(1_000);
        let accepted = block_on(server.accept_bi()).unwrap();
        drop(writer.join().unwrap());
        drop(accepted);
        finish([client, server]);
    }
    explore(scenario, &[Wire::QMux]);
}

#[test]
fn a_drain_ends_with_the_last_stream() {
    fn scenario(wire: Wire) {
        let [client, server] = pair(wire, 2);
        let mut stream = block_on(client.open_bi()).unwrap();
        block_on(stream.split().0.write_all(&[7; 10])).unwrap();
        let accepted = block_on(server.accept_bi()).unwrap();
        client.drain();
        let draining = client.clone();
        let ended = thread::spawn(move || block_on(draining.closed()));
        let here = thread::spawn(move || drop(stream));
        drop(accepted);
        ended.join().unwrap();
        here.join().unwrap();
        block_on(server.closed());
        drop(client);
    }
    explore(scenario, &WIRES);
}

#[test]
fn a_datagram_wakes_its_reader_and_room_its_writer() {
    fn scenario(wire: Wire) {
        let [client, server] = pair(wire, 1);
        block_on(client.established()).unwrap();
        let reader = thread::spawn({
            let server = server.clone();
            move || block_on(server.read_datagram()).unwrap()
        });
        let sent = Bytes::from_static(b"hello");
        block_on(client.send_datagram_wait(sent.clone())).unwrap();
        assert_eq!(reader.join().unwrap(), sent);
        finish([client, server]);
    }
    explore(scenario, &[Wire::QMux]);
}

/// Polls `future` once, and drops it even if it has not completed.
fn give_up(future: impl Future) {
    let mut future = pin!(future);
    block_on(poll_fn(|cx| {
        let _ = future.as_mut().poll(cx);
        Poll::Ready(())
    }));
    thread::yield_now();
}

#[test]
fn each_stream_wakes_one_who_accepts_also_when_another_gives_up() {
    fn scenario(wire: Wire) {
        let [client, server] = pair(wire, 4);
        let accepters: Vec<_> = (0..2)
            .map(|_| {
                let server = server.clone();
                thread::spawn(move || block_on(server.accept_bi()).unwrap())
            })
            .collect();
        let impatient = thread::spawn({
            let server = server.clone();
            move || give_up(server.accept_bi())
        });
        // There is one more stream than the two tasks accept, because the impatient task may accept
        // a stream and drop it.
        let mut opened = Vec::new();
        for _ in 0..3 {
            let mut stream = block_on(client.open_bi()).unwrap();
            stream.send().announce();
            opened.push(stream);
        }
        accepters.into_iter().for_each(|accepter| drop(accepter.join().unwrap()));
        impatient.join().unwrap();
        drop(opened);
        finish([client, server]);
    }
    explore(scenario, &WIRES);
}

#[test]
fn each_datagram_wakes_one_reader_also_when_another_gives_up() {
    fn scenario(wire: Wire) {
        let [client, server] = pair(wire, 1);
        block_on(client.established()).unwrap();
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let server = server.clone();
                thread::spawn(move || block_on(server.read_datagram()).unwrap())
            })
            .collect();
        let impatient = thread::spawn({
            let server = server.clone();
            move || give_up(server.read_datagram())
        });
        for _ in 0..3 {
            client.send_datagram(Bytes::from_static(b"hello")).unwrap();
            thread::yield_now();
        }
        readers.into_iter().for_each(|reader| drop(reader.join().unwrap()));
        impatient.join().unwrap();
        finish([client, server]);
    }
    explore(scenario, &[Wire::QMux]);
}

#[test]
fn room_for_datagrams_wakes_all_in_turn_also_when_one_gives_up() {
    fn scenario(wire: Wire) {
        // The limit of the queue is 1 byte. So the queue holds one datagram at a time, because an
        // empty queue accepts a datagram of any length.
        let mut config = small(1);
        config.datagram_send_buffer_size(1);
        let (left, right) = memory_pair(50);
        let info = ConnectionInfo::default;
        let client = WebSocketConnection::from_socket(left, Side::Client, wire, config, info());
        let server = WebSocketConnection::from_socket(right, Side::Server, wire, small(1), info());
        block_on(client.established()).unwrap();
        let datagram = Bytes::from_static(b"hello");
        let senders: Vec<_> = (0..3)
            .map(|_| {
                let (client, datagram) = (client.clone(), datagram.clone());
                thread::spawn(move || block_on(client.send_datagram_wait(datagram)).unwrap())
            })
            .collect();
        let impatient = thread::spawn({
            let (client, datagram) = (client.clone(), datagram.clone());
            move || give_up(client.send_datagram_wait(datagram))
        });
        // This sender does not wait. It may take the room for which a waiting sender was woken.
        let careless = thread::spawn({
            let (client, datagram) = (client.clone(), datagram.clone());
            move || client.send_datagram(datagram).unwrap()
        });
        senders.into_iter().for_each(|sender| sender.join().unwrap());
        impatient.join().unwrap();
        careless.join().unwrap();
        finish([client, server]);
    }
    explore(scenario, &[Wire::QMux]);
}
