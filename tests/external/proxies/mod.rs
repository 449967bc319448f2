//! nginx and HAProxy, as Debian packages them, between a client and a server. They have the
//! configuration that the manual shows. The client connects to them with TLS or without, and they
//! connect to the server without TLS.
//!
//! Needs both programs; `./test` installs them and runs this module.

use wsmux_testing::interop;
mod pair;
mod proxy;
mod resumption;
mod rolling;

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use sha2::{Digest, Sha256};
use tokio::{net::TcpListener, sync::Barrier, task::JoinSet};
use wsmux::{
    Config, ConnectionError, ReadError, Timeout, WebSocketClient, WebSocketConnection,
    WebSocketServer, WriteError,
};

use interop::*;
use pair::*;
use proxy::*;

/// Makes tests of each function. The functions in `fronts` are tested with each proxy, with and
/// without TLS between the client and the proxy. The functions in `once` are tested with each
/// proxy, but only without TLS.
macro_rules! behind_both {
    (fronts: { $($each:ident,)* } once: { $($once:ident,)* }) => {
        behind_both!(@ nginx, Kind::Nginx, Front::Plain, $($each,)* $($once,)*);
        behind_both!(@ nginx_with_tls, Kind::Nginx, Front::Tls, $($each,)*);
        behind_both!(@ haproxy, Kind::HaProxy, Front::Plain, $($each,)* $($once,)*);
        behind_both!(@ haproxy_with_tls, Kind::HaProxy, Front::Tls, $($each,)*);
    };
    (@ $module:ident, $kind:path, $front:path, $($name:ident,)*) => {
        mod $module {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name($kind, Settings { front: $front, ..Settings::default() }).await
            })*
        }
    };
}

behind_both! {
    fronts: {
        a_thousand_streams_are_open_at_once,
        a_stream_of_256_mib_comes_back_as_it_was_sent,
    }
    once: {
        an_idle_connection_outlives_the_proxys_timeout,
        an_idle_connection_without_keep_alive_is_cut_by_the_proxy,
        a_killed_proxy_is_an_error_at_both_ends_and_a_new_one_serves,
        a_proxy_that_stands_still_times_out_at_both_ends,
        a_reloaded_proxy_ends_the_old_connection_and_serves_new_ones,
        the_clients_address_is_what_the_proxy_adds_last,
    }
}

async fn a_thousand_streams_are_open_at_once(kind: Kind, settings: Settings) {
    const STREAMS: usize = 1_000;
    let config = config(|c| _ = c.max_concurrent_bidi_streams(STREAMS as u64));
    let pair = Pair::new(kind, &settings, config).await;
    let echo = Echo::start(&pair.server_end);

    // No stream ends before all streams have been answered.
    let all_are_open = std::sync::Arc::new(Barrier::new(STREAMS));
    let mut streams = JoinSet::new();
    for seed in 0..STREAMS {
        let (connection, barrier) = (pair.client_end.clone(), all_are_open.clone());
        streams.spawn(async move {
            let seed = seed as u8;
            let mut stream = within("opening", connection.open_bi()).await.expect("a stream");
            let (send, recv) = stream.split();
            write_pattern(send, seed, 0, 1_000).await.expect("a stream that takes all");
            let mut first = [0; 1_000];
            within("an answer", recv.read_exact(&mut first)).await.expect("an answer");
            check_pattern(seed, 0, &first);
            within("the others", barrier.wait()).await;
            write_pattern(send, seed, 1_000, 9_000).await.expect("a stream that takes all");
            send.finish().expect("a stream that can be finished");
            receive_pattern_from(recv, seed, 1_000, 9_000).await;
        });
    }
    while let Some(done) = within("a stream's end", streams.join_next()).await {
        done.expect("a stream like the others");
    }
    echo.idle().await;
}

async fn a_stream_of_256_mib_comes_back_as_it_was_sent(kind: Kind, settings: Settings) {
    const CHUNK: usize = 64 * 1024;
    const CHUNKS: u64 = 256 * MIB / CHUNK as u64;
    let pair = Pair::new(kind, &settings, Config::default()).await;
    let _echo = Echo::start(&pair.server_end);

    let stream = pair.client_end.open_bi().await.expect("a stream");
    let (mut send, mut recv) = stream.into_split();
    let sending = async {
        let mut sent = Sha256::new();
        for number in 0..CHUNKS {
            // No two chunks are the same, so a chunk that is lost, repeated or out of order is
            // detected.
            let mut chunk = pattern(number as u8, number, CHUNK).to_vec();
            chunk[..8].copy_from_slice(&number.to_be_bytes());
            sent.update(&chunk);
            send.write_chunk(chunk.into()).await.expect("a stream that takes all");
        }
        send.finish().expect("a stream that can be finished");
        sent.finalize()
    };
    let receiving = async {
        let (mut received, mut bytes) = (Sha256::new(), 0);
        while let Some(chunk) =
            within("reading", recv.read_chunk(usize::MAX)).await.expect("a clean end")
        {
            bytes += chunk.len() as u64;
            received.update(&chunk);
        }
        (received.finalize(), bytes)
    };
    let (sent, (received, bytes)) = tokio::join!(sending, receiving);
    assert_eq!(bytes, 256 * MIB);
    assert_eq!(sent, received);
}

/// The proxy's timeout in the tests that wait for this timeout.
const SHORT: Duration = Duration::from_secs(4);
/// A time after which the timeout [`SHORT`] has certainly expired.
const PAST_SHORT: Duration = Duration::from_secs(10);

async fn an_idle_connection_outlives_the_proxys_timeout(kind: Kind, settings: Settings) {
    let settings = Settings { idle: SHORT, ..settings };
    let keep_alive = Some(Duration::from_secs(1));
    loop {
        let pair =
            Pair::new(kind, &settings, config(|c| _ = c.keep_alive_interval(keep_alive))).await;
        let _echo = Echo::start(&pair.server_end);
        let mut stream = pair.client_end.open_bi().await.expect("a stream");
        exchange(&mut stream).await.expect("a stream that works");
        let worst = longest_standstill(PAST_SHORT).await;
        match exchange(&mut stream).await {
            Ok(()) => return,
            // If this machine was suspended meanwhile, the pings were late, and the proxy may have
            // cut the connection.
            Err(_) if worst > SHORT / 4 => {}
            Err(error) => panic!("idle for {PAST_SHORT:?}: {error}"),
        }
    }
}

/// Shows that the pings keep the connection alive in the test above.
async fn an_idle_connection_without_keep_alive_is_cut_by_the_proxy(kind: Kind, settings: Settings) {
    let settings = Settings { idle: SHORT, ..settings };
    let never = |c: &mut Config| _ = c.keep_alive_interval(None).max_idle_timeout(None);
    let pair = Pair::new(kind, &settings, config(never)).await;
    for end in pair.ends() {
        assert_cut(&within("the proxy's timeout", end.closed()).await);
    }
}

async fn a_killed_proxy_is_an_error_at_both_ends_and_a_new_one_serves(
    kind: Kind,
    settings: Settings,
) {
    // The idle timeout is an hour, so the errors in this test do not come from that timeout.
    let late = Some(Duration::from_secs(3600));
    let mut pair = Pair::new(kind, &settings, config(|c| _ = c.max_idle_timeout(late))).await;
    let (mut ours, mut theirs) = pair.stream_under_way().await;

    pair.proxy.kill().await;
    let (here, there) = tokio::join!(ours.ended(), theirs.ended());
    assert_cut(&here);
    assert_cut(&there);

    pair.proxy.start_again().await;
    let (client_end, server_end) = pair.connect_again().await;
    let _echo = Echo::start(&server_end);
    get_echo(&client_end, 1, MIB).await;
}

async fn a_proxy_that_stands_still_times_out_at_both_ends(kind: Kind, settings: Settings) {
    let short = Some(Duration::from_secs(3));
    let pair = Pair::new(kind, &settings, config(|c| _ = c.max_idle_timeout(short))).await;
    let (mut ours, mut theirs) = pair.stream_under_way().await;

    pair.proxy.freeze();
    let (here, there) = tokio::join!(ours.ended(), theirs.ended());
    for end in [here, there] {
        let silent = matches!(end, ConnectionError::TimedOut(Timeout::KeepAlive | Timeout::Idle));
        assert!(silent, "not silence, but {end:?}");
    }
}

async fn a_reloaded_proxy_ends_the_old_connection_and_serves_new_ones(
    kind: Kind,
    settings: Settings,
) {
    let late = Some(Duration::from_secs(3600));
    let pair = Pair::new(kind, &settings, config(|c| _ = c.max_idle_timeout(late))).await;
    let (mut ours, mut theirs) = pair.stream_under_way().await;

    pair.proxy.reload().await;
    let (here, there) = tokio::join!(ours.ended(), theirs.ended());
    assert_cut(&here);
    assert_cut(&there);

    let (client_end, server_end) = pair.connect_again().await;
    let _echo = Echo::start(&server_end);
    get_echo(&client_end, 1, MIB).await;
}

async fn the_clients_address_is_what_the_proxy_adds_last(kind: Kind, settings: Settings) {
    let server = WebSocketServer::builder().bind("127.0.0.1:0").await.expect("a port");
    let address = server.local_addr().expect("an address");
    let proxy = Proxy::start(kind, &settings, &[address]).await;
    // The client itself sends this header, which must not be mistaken for the proxy's header.
    let client = WebSocketClient::builder().header("X-Forwarded-For", "192.0.2.1").build().unwrap();
    let url = proxy.url();
    let (client_end, server_end) = tokio::join!(client.connect(&url), accept(&server));
    let client = client_end.expect("a connection").info().local_address().expect("a TCP socket");
    assert_eq!(client_address(&server_end), Some(client.ip()));
    // The remote address of the server's socket is the proxy's. That address and the client's
    // differ at least in the port.
    assert_ne!(server_end.remote_address(), Some(client));
}

/// Returns the client's address, as the manual shows.
fn client_address(connection: &WebSocketConnection) -> Option<IpAddr> {
    let headers = connection.info().request()?.headers();
    let last = headers.get_all("x-forwarded-for").iter().next_back()?.to_str().ok()?;
    last.rsplit(',').next()?.trim().parse().ok()
}

/// Follows the manual's recipe for HAProxy's PROXY header, which precedes the request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clients_address_and_port_are_in_the_proxy_header() {
    let acceptor = WebSocketServer::builder().build().expect("an acceptor");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let settings = Settings { send_proxy: true, ..Settings::default() };
    let address = listener.local_addr().expect("an address");
    let proxy = Proxy::start(Kind::HaProxy, &settings, &[address]).await;
    let serve = async {
        let (mut socket, _) = listener.accept().await.expect("a socket");
        let client = read_proxy_header(&mut socket).await.expect("a PROXY header");
        (client, acceptor.from_io(socket).await.expect("a handshake"))
    };
    let ((told, server_end), client_end) =
        within("a connection", async { tokio::join!(serve, connect(&proxy, Config::default())) })
            .await;
    assert_eq!(Some(told), client_end.info().local_address());
    assert_eq!(server_end.remote_address(), None);
}

/// Reads `PROXY TCP4 <client> <proxy> <client's port> <proxy's port>\r\n`, and not a byte more.
/// Returns the client's address.
async fn read_proxy_header(socket: &mut tokio::net::TcpStream) -> std::io::Result<SocketAddr> {
    use tokio::io::AsyncReadExt;
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        line.push(socket.read_u8().await?);
        assert!(line.len() <= 107, "the longest header of version 1 is of 107 bytes");
    }
    let line = String::from_utf8(line).expect("ASCII");
    let words: Vec<_> = line.split_whitespace().collect();
    assert_eq!(&words[..2], ["PROXY", "TCP4"]);
    Ok(format!("{}:{}", words[2], words[4]).parse().expect("an address"))
}

/// Asserts that the connection was ended by the network, and not by the peer.
fn assert_cut(error: &ConnectionError) {
    assert!(matches!(error, ConnectionError::SocketLost(_)), "not the network, but {error:?}");
}

/// One end of a stream that neither end means to finish.
#[derive(Debug)]
pub(crate) struct UnderWay {
    connection: WebSocketConnection,
    stream: wsmux::WebSocketStream,
}

impl UnderWay {
    /// Waits for the connection's end. Checks that the stream reports the loss of the connection,
    /// and returns the connection's error.
    async fn ended(&mut self) -> ConnectionError {
        let error = within("the connection's end", self.connection.closed()).await;
        let (send, recv) = self.stream.split();
        let read = recv.read(&mut [0]).await;
        assert!(matches!(read, Err(ReadError::ConnectionLost(_))), "read: {read:?}");
        let written = send.write(b"?").await;
        assert!(matches!(written, Err(WriteError::ConnectionLost(_))), "write: {written:?}");
        error
    }
}
