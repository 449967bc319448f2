//! Tests of bad networks, with the TCP of a real kernel. The two ends are in two network
//! namespaces, with loss, delay, a narrow link, black holes or RSTs between them.
//! `wsmux-proto/tests/engine/faults.rs` has the same tests in virtual time.
//!
//! Needs Linux, root, iproute2, iptables and /dev/net/tun; `./test` checks for them. If the kernel
//! has no netem or tbf, the tests that need these print MISSING, which `--nocapture` shows.

use wsmux_testing::interop;
mod network;
mod roaming;

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;
use wsmux::{
    Config, ConnectionError, ReadError, RecvStream, Timeout, WebSocketClient, WebSocketConnection,
    WebSocketServer, WriteError,
};

use interop::*;
use network::*;

struct Ends {
    client: WebSocketConnection,
    server: WebSocketConnection,
}

async fn connect(net: &Network, config: &Config) -> Ends {
    let server = WebSocketServer::builder().config(config.clone());
    let address = format!("{}:443", net.server.address);
    let server = net.server.run(async move { server.bind(address).await.expect("a port") }).await;
    let client = WebSocketClient::builder().config(config.clone()).resume_without_tls(true);
    let client = client.build().expect("a client");
    let url = format!("ws://{}:443/", net.server.address);
    let dialing = net.client.run(async move { client.connect(&url).await.expect("a connection") });
    let accepting = net.server.run(async move {
        let first = accept(&server).await;
        // Every later handshake is from the same client, which resumes its connection.
        tokio::spawn(async move {
            while let Some(incoming) = server.accept().await {
                tokio::spawn(incoming);
            }
        });
        first
    });
    let (client, server) = tokio::join!(dialing, accepting);
    Ends { client, server }
}

/// Each end opens `streams` streams at once, sends `bytes` bytes on each, receives the echoes, and
/// checks each byte.
async fn exchange(ends: &Ends, streams: u8, bytes: u64) {
    let echoes = [&ends.client, &ends.server].map(Echo::start);
    let mut jobs = JoinSet::new();
    for seed in 0..streams {
        for connection in [&ends.client, &ends.server] {
            let connection = connection.clone();
            jobs.spawn(async move { get_echo(&connection, seed, bytes).await });
        }
    }
    while let Some(done) = jobs.join_next().await {
        done.expect("every byte comes back");
    }
    for echo in &echoes {
        echo.idle().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transfers_complete_over_200_ms_with_one_packet_of_a_hundred_lost() {
    let (net, lost) = Network::slow_and_lossy(Duration::from_millis(200), 10).await;
    let ends = connect(&net, &Config::default()).await;
    let start = Instant::now();
    exchange(&ends, 2, MIB).await;
    let lost = lost.load(Ordering::Relaxed);
    println!("8 MiB in {:.1?}, {lost} packets lost", start.elapsed());
    assert!(ends.client.rtt() >= Some(Duration::from_millis(200)), "{:?}", ends.client.rtt());
    assert!(lost > 20, "{lost} were lost: that is no lossy path");
}

/// Uses the delay and loss of the kernel's netem, if the kernel has it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transfers_complete_under_netem() {
    let net = Network::veth();
    for host in net.hosts_of() {
        if !host.can("tc qdisc add dev wan root netem delay 100ms loss 1% limit 10000") {
            eprintln!("MISSING: this kernel has no netem; our own link stands in for it");
            return;
        }
    }
    let ends = connect(&net, &Config::default()).await;
    exchange(&ends, 2, MIB).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transfers_complete_where_the_kernel_drops_packets() {
    let net = Network::veth();
    for host in net.hosts_of() {
        host.must("iptables -A INPUT -m statistic --mode random --probability 0.01 -j DROP");
    }
    let ends = connect(&net, &Config::default()).await;
    exchange(&ends, 4, 4 * MIB).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transfers_complete_on_a_narrow_link() {
    let net = Network::veth();
    for host in net.hosts_of() {
        if !host.can("tc qdisc add dev wan root tbf rate 8mbit burst 32k latency 400ms") {
            eprintln!("MISSING: this kernel has no tbf");
            return;
        }
    }
    let ends = connect(&net, &Config::default()).await;
    let start = Instant::now();
    exchange(&ends, 2, MIB).await;
    // The transfer of 4 MiB each way must have been slowed down, or the test proves nothing.
    assert!(start.elapsed() > Duration::from_secs(3), "{:?}", start.elapsed());
}

/// Starts a stream that the client writes without end and that the server has begun to read.
async fn endless(ends: &Ends) -> (RecvStream, tokio::task::JoinHandle<WriteError>) {
    let mut send = ends.client.open_uni().await.expect("a stream");
    let writer = tokio::spawn(async move {
        for offset in (0..).step_by(KIB as usize) {
            if let Err(error) = write_pattern(&mut send, 9, offset, KIB).await {
                return error;
            }
        }
        unreachable!("it has no end")
    });
    let mut recv = within("a stream", ends.server.accept_uni()).await.expect("a stream");
    let mut first = vec![0; MIB as usize];
    within("a mebibyte", recv.read_exact(&mut first)).await.expect("bytes");
    check_pattern(9, 0, &first);
    (recv, writer)
}

/// Reads what has arrived, checks it, and returns the error. Fails if the stream ends cleanly.
async fn read_the_rest(mut recv: RecvStream) -> ReadError {
    let mut at = MIB;
    loop {
        match within("an end", recv.read_chunk(usize::MAX)).await {
            Ok(Some(chunk)) => {
                check_pattern(9, at, &chunk);
                at += chunk.len() as u64;
            }
            Ok(None) => panic!("a clean end of a stream that was never finished, after {at}"),
            Err(error) => return error,
        }
    }
}

const IDLE: Duration = Duration::from_secs(3);

async fn black_hole(make: fn(&Network), hears: [bool; 2]) {
    let net = Network::veth();
    let config = config(|config| _ = config.max_idle_timeout(Some(IDLE)));
    let ends = connect(&net, &config).await;
    let (recv, writer) = endless(&ends).await;
    let reading = tokio::spawn(read_the_rest(recv));
    make(&net);
    let start = Instant::now();
    let read = within("the reader's error", reading).await.expect("right bytes");
    assert!(matches!(read, ReadError::ConnectionLost(_)), "{read:?}");
    let written = within("the writer's error", writer).await.expect("an error");
    assert!(matches!(written, WriteError::ConnectionLost(_)), "{written:?}");
    // The additional seconds allow for a machine that stops for some seconds. TCP alone would
    // notice the loss only after a quarter of an hour.
    let noticed = start.elapsed();
    assert!(noticed < IDLE + Duration::from_secs(20), "{noticed:?}");
    let closed = async { tokio::join!(ends.client.closed(), ends.server.closed()) };
    let (client, server) = within("the end", closed).await;
    println!("noticed after {noticed:.1?}: {client:?}, {server:?}");
    for (end, hears) in [client, server].into_iter().zip(hears) {
        let timed_out =
            matches!(end, ConnectionError::TimedOut(Timeout::Idle | Timeout::KeepAlive));
        let told = hears && matches!(end, ConnectionError::ConnectionClosed(_));
        assert!(timed_out || told, "{end:?}");
    }
}

const DROP: &str = "iptables -A INPUT -p tcp -j DROP";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_black_hole_on_the_way_to_the_server_is_noticed_at_both_ends() {
    black_hole(|net| net.server.must(DROP), [true, false]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_black_hole_on_the_way_to_the_client_is_noticed_at_both_ends() {
    black_hole(|net| net.client.must(DROP), [false, true]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_goes_down_is_noticed_at_both_ends() {
    black_hole(|net| net.client.must("ip link set wan down"), [false, false]).await;
}

fn is_lost(error: &ConnectionError) -> bool {
    matches!(error, ConnectionError::SocketLost(_))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_rst_in_the_middle_of_a_message_is_an_error_at_both_ends() {
    let net = Network::veth();
    let ends = connect(&net, &Config::default()).await;
    let (recv, writer) = endless(&ends).await;
    // The server also writes on a stream. So both ends send segments that are rejected.
    let mut back = ends.server.open_uni().await.expect("a stream");
    let backwards =
        tokio::spawn(async move { write_pattern(&mut back, 9, 0, u64::MAX >> 2).await });
    let reading = tokio::spawn(read_the_rest(recv));
    for host in net.hosts_of() {
        // Only segments with data are rejected, so the connection is cut within a message and not
        // between two.
        host.must(
            "iptables -A OUTPUT -p tcp -m length --length 1000: -j REJECT --reject-with tcp-reset",
        );
    }
    let (client, server) =
        within("the end", async { tokio::join!(ends.client.closed(), ends.server.closed()) }).await;
    assert!(is_lost(&client) && is_lost(&server), "{client:?}, {server:?}");
    let read = reading.await.expect("right bytes");
    assert!(matches!(&read, ReadError::ConnectionLost(error) if is_lost(error)), "{read:?}");
    for written in [writer.await.expect("an error"), backwards.await.unwrap().unwrap_err()] {
        assert!(
            matches!(&written, WriteError::ConnectionLost(error) if is_lost(error)),
            "{written:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_killed_in_the_middle_of_a_message_is_no_clean_end() {
    let mut net = Network::veth();
    let ends = connect(&net, &Config::default()).await;
    let (recv, _writer) = endless(&ends).await;
    net.client.die();
    let read = read_the_rest(recv).await;
    assert!(matches!(&read, ReadError::ConnectionLost(error) if is_lost(error)), "{read:?}");
    let end = within("the end", ends.server.closed()).await;
    assert!(is_lost(&end), "{end:?}");
}
