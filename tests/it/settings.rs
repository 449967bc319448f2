//! Sets each setting to its extremes. An extreme value is rounded, or it is refused when the client
//! or server is built. Every client and server that can be built can connect.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use proptest::{prelude::*, sample::select, test_runner::RngSeed};
use wsmux::{
    BuildError, Config, ConnectError, ReconnectEvent, ReconnectingClient, SocketOptions, VarInt,
    WebSocketClient, WebSocketServer, Wire,
};

/// A time limit that a passing test never reaches, even on a slow machine.
const WATCHDOG: Duration = Duration::from_secs(60);

const EXTREMES: [Duration; 9] = [
    Duration::ZERO,
    Duration::from_nanos(1),
    Duration::from_millis(1),
    Duration::from_millis(500),
    Duration::from_secs(24 * 60 * 60),
    Duration::from_secs(32_768),
    Duration::from_secs(u32::MAX as u64),
    Duration::from_millis(u64::MAX),
    Duration::MAX,
];

/// Generates durations that are not short. They are for settings whose documentation says that a
/// short duration prevents or ends connections.
fn long() -> impl Strategy<Value = Duration> {
    select(&EXTREMES[4..])
}

fn any_duration() -> impl Strategy<Value = Duration> {
    select(&EXTREMES[..])
}

const COUNTS: [u64; 8] = [0, 1, 1_000, 65_536, i32::MAX as u64, u32::MAX as u64, 1 << 60, u64::MAX];

fn optional<T: Clone + std::fmt::Debug>(
    strategy: impl Strategy<Value = T>,
) -> impl Strategy<Value = Option<T>> {
    proptest::option::of(strategy)
}

fn count() -> impl Strategy<Value = u64> {
    select(&COUNTS[..])
}

fn config() -> impl Strategy<Value = Config> {
    let windows = (count(), count(), count());
    let streams = (count(), count(), optional(count()));
    let buffers = (count(), count(), count(), count());
    let idle = optional(prop_oneof![Just(Duration::ZERO), long()]);
    let times = (idle, optional(any_duration()), long(), any_duration());
    (windows, streams, buffers, times).prop_map(|(windows, streams, buffers, times)| {
        let bytes = |count| usize::try_from(count).unwrap_or(usize::MAX);
        let mut config = Config::default();
        config.stream_receive_window(windows.0).max_stream_receive_window(windows.1);
        config.window_growth_budget(windows.2);
        config.max_concurrent_bidi_streams(streams.0).max_concurrent_uni_streams(streams.1);
        config.cancelled_streams_per_second(streams.2);
        config.send_buffer(bytes(buffers.0)).max_record_size(buffers.1);
        config
            .datagram_receive_buffer_size(bytes(buffers.2))
            .datagram_send_buffer_size(bytes(buffers.3));
        config.max_idle_timeout(times.0).keep_alive_interval(times.1);
        config.handshake_timeout(times.2).close_timeout(times.3);
        config
    })
}

fn socket_options() -> impl Strategy<Value = SocketOptions> {
    let bytes = || optional(select(&[0, 1, 65_536, 1 << 30, i32::MAX as u32, u32::MAX][..]));
    (any::<bool>(), optional(any_duration()), bytes(), bytes()).prop_map(
        |(nodelay, keepalive, send, recv)| {
            let mut options = SocketOptions::default();
            options.nodelay(nodelay).keepalive(keepalive).send_buffer(send).recv_buffer(recv);
            options
        },
    )
}

/// Generates limits with which a server accepts at least one client.
fn limit() -> impl Strategy<Value = Option<usize>> {
    proptest::option::of(select(&[1, usize::MAX >> 3, usize::MAX][..]))
}

#[derive(Debug)]
struct Ends {
    wire: Wire,
    client: Config,
    server: Config,
    options: SocketOptions,
    connect_timeout: Duration,
    limits: [Option<usize>; 4],
}

fn ends() -> impl Strategy<Value = Ends> {
    let limits = [limit(), limit(), limit(), limit()];
    let wire = select(&[Wire::QMux, Wire::JsWs][..]);
    (wire, config(), config(), socket_options(), long(), limits).prop_map(
        |(wire, client, server, options, connect_timeout, limits)| Ends {
            wire,
            client,
            server,
            options,
            connect_timeout,
            limits,
        },
    )
}

/// Builds both ends, connects them, and exchanges a stream. Also sends a datagram, if the settings
/// allow datagrams.
async fn connect(ends: Ends) {
    let server =
        WebSocketServer::builder().wires([ends.wire]).config(ends.server).header("x-a", "b");
    let [connections, per_address, handshakes, handshakes_per_address] = ends.limits;
    let server = server
        .max_connections(connections)
        .max_connections_per_address(per_address)
        .max_handshakes(handshakes)
        .max_handshakes_per_address(handshakes_per_address);
    let server = server.bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", server.local_addr().unwrap());
    let client = WebSocketClient::builder()
        .wire(ends.wire)
        .config(ends.client)
        .socket_options(ends.options)
        .connect_timeout(ends.connect_timeout)
        .build()
        .unwrap();
    let (client, server) =
        tokio::join!(client.connect(&url), async { server.accept().await.unwrap().await });
    let (client, server) = (client.unwrap(), server.unwrap());
    // The configured limit on streams may be zero, so the test sets it to one stream.
    server.set_max_concurrent_bi_streams(1);
    let mut stream = client.open_bi().await.unwrap();
    let write = async {
        stream.send().write_all(b"abc").await.unwrap();
        stream.send().finish().unwrap();
        stream
    };
    let read = async {
        let mut stream = server.accept_bi().await.unwrap();
        assert_eq!(stream.recv().read_to_end(3).await.unwrap(), b"abc"[..]);
        stream
    };
    let _streams = tokio::join!(write, read);
    let _ = client.send_datagram(Bytes::from_static(b"d"));
    client.close(VarInt::from_u32(7), b"");
    server.closed().await;
}

fn run(future: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let watched = async { tokio::time::timeout(WATCHDOG, future).await };
    runtime.block_on(watched).expect("it waits in vain");
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(0x5eed),
        cases: 200,
        ..ProptestConfig::default()
    })]

    /// [C-81] A duration that the application or the peer sets MUST NOT cause a panic, however long
    /// the duration is. If no clock can reach a deadline, there is no deadline.
    #[test]
    fn what_can_be_built_connects(ends in ends()) {
        run(connect(ends));
    }
}

/// Each case makes one mistake in a client's settings.
#[test]
fn what_no_connect_could_succeed_with_is_no_client() {
    let header = |name: &str, value: &str| WebSocketClient::builder().header(name, value).build();
    for host in ["", "a b", "a/../b", "u@a", "a:99999999", "a:b", ":80", "é"] {
        let failed = header("Host", host).unwrap_err();
        assert!(matches!(&failed, BuildError::InvalidHeader(name) if name == "host"), "{host:?}");
    }
    for host in ["a", "a:80", "[::1]:80", "1.2.3.4", "A.Example"] {
        header("Host", host).unwrap();
    }
    // The last of several values is used.
    WebSocketClient::builder().header("Host", "a").header("Host", "b").build().unwrap();
}

#[cfg(feature = "tls")]
#[test]
fn certificates_and_keys_that_are_none_are_no_client() {
    use wsmux::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
    let made = || {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap().der().clone();
        (certificate, PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der())))
    };
    let ((certificate, key), (_, other_key)) = (made(), made());
    let garbage = || CertificateDer::from(b"no certificate".to_vec());
    let client = WebSocketClient::builder;
    let no_key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(b"no key".to_vec()));
    for builder in [
        client().add_root_certificate(certificate.clone()).add_root_certificate(garbage()),
        client().trust_self_signed(garbage()),
        client().client_certificate([certificate.clone()], no_key),
        client().client_certificate([certificate.clone()], other_key),
        client().client_certificate([], key.clone_key()),
        client().client_certificate([garbage()], key.clone_key()),
    ] {
        let failed = builder.build();
        assert!(matches!(failed, Err(BuildError::Tls(_))), "{failed:?}");
    }
    for builder in [
        client().add_root_certificate(certificate.clone()),
        client().trust_self_signed(certificate.clone()),
        client().client_certificate([certificate.clone()], key.clone_key()),
    ] {
        builder.build().unwrap();
    }
}

/// [C-81] A duration that the application or the peer sets MUST NOT cause a panic, however long the
/// duration is. If no clock can reach a deadline, there is no deadline.
#[tokio::test(start_paused = true)]
async fn a_client_that_dials_again_takes_any_pause() {
    for initial in EXTREMES {
        for most in EXTREMES {
            let dial = || {
                let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
                std::future::ready(Err(ConnectError::Connect(Arc::new(refused))))
            };
            let builder = ReconnectingClient::with_dialer(dial);
            let (_client, mut events) = builder.initial_delay(initial).max_delay(most).start();
            // A pause may be longer than the clock can reach, and the test does not wait for that.
            let mut pauses = 0;
            while pauses < 3
                && let Ok(event) = tokio::time::timeout(WATCHDOG, events.next()).await
            {
                let event = event.expect("the task has panicked");
                if let ReconnectEvent::Waiting { delay, .. } = event {
                    assert!(delay <= most, "{delay:?}");
                    pauses += 1;
                }
            }
            assert!(pauses > 0);
        }
    }
}
