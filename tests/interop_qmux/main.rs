//! The QMux wire against another implementation of it, the crate `qmux`, over ws and wss. Each story is told
//! twice, with our server and with our client.

use wsmux_testing::interop;
mod pair;
#[cfg(feature = "web-transport")]
mod web_transport;

use bytes::Bytes;
use qmux::Error;
use tokio::{net::TcpListener, task::JoinSet};
use web_transport_trait::{RecvStream as _, SendStream as _, Session as _};
use wsmux::{
    Config, ConnectionError, ReadError, SendDatagramError, WebSocketClient, WebSocketServer,
    WriteError,
};

use interop::*;
use pair::*;

in_both_roles! {
    sixty_four_mib_come_back_through_small_windows_of_ours,
    sixty_four_mib_come_back_through_small_windows_of_theirs,
    several_streams_run_at_once_in_each_direction,
    unidirectional_streams_go_both_ways,
    a_thousand_streams_one_after_another_pass_the_first_limit_and_leave_nothing_behind,
    our_reset_and_our_stop_reach_them_with_their_codes,
    our_reset_behind_a_part_of_a_stream_is_a_reset_to_them,
    their_reset_and_stop_reach_us_with_their_codes,
    streams_given_up_in_the_middle_of_data_leave_the_connection_whole,
    readers_of_ours_that_stall_cost_another_stream_nothing,
    our_close_reaches_them_with_code_and_reason,
    their_close_reaches_us_with_code_and_reason,
    datagrams_go_both_ways,
    an_application_protocol_is_agreed_on,
    a_peer_that_knows_the_older_draft_alone_is_understood,
    everything_works_over_tls,
}

/// So small that a MiB takes 256 grants.
const SMALL: u64 = 4 * KIB;

async fn sixty_four_mib_come_back_through_small_windows_of_ours(role: Role) {
    let ours = config(|config| _ = config.stream_window(SMALL));
    let pair = Pair::new(role, ours, qmux::Config::default()).await;
    let _echoes = pair.start_echoes();
    get_echo(&pair.ours, 1, 32 * MIB).await;
    pair.they_get_echo(2, 32 * MIB).await;
}

async fn sixty_four_mib_come_back_through_small_windows_of_theirs(role: Role) {
    let pair = Pair::new(role, Config::default(), their_window(SMALL)).await;
    let _echoes = pair.start_echoes();
    get_echo(&pair.ours, 1, 32 * MIB).await;
    pair.they_get_echo(2, 32 * MIB).await;
}

async fn several_streams_run_at_once_in_each_direction(role: Role) {
    let pair = Pair::new(role, Config::default(), qmux::Config::default()).await;
    let (echo, _) = pair.start_echoes();
    let pair = std::sync::Arc::new(pair);
    let mut streams = JoinSet::new();
    for seed in 0..100 {
        let (ours, theirs) = (pair.clone(), pair.clone());
        streams.spawn(async move { get_echo(&ours.ours, seed, 200_000).await });
        streams.spawn(async move { theirs.they_get_echo(seed, 200_000).await });
    }
    streams.join_all().await;
    echo.idle().await;
}

async fn unidirectional_streams_go_both_ways(role: Role) {
    let pair = Pair::new(role, Config::default(), qmux::Config::default()).await;
    for seed in 0..20 {
        let ours = async {
            let mut send = pair.ours.open_uni().await.unwrap();
            send_pattern(&mut send, seed, MIB).await;
        };
        let theirs = async {
            let mut recv = within("a stream", pair.theirs.accept_uni()).await.unwrap();
            they_receive_pattern(&mut recv, seed, MIB).await;
            let mut send = pair.theirs.open_uni().await.unwrap();
            they_send_pattern(&mut send, seed + 100, MIB).await;
        };
        let back = async {
            let mut recv = within("a stream", pair.ours.accept_uni()).await.unwrap();
            receive_pattern(&mut recv, seed + 100, MIB).await;
        };
        tokio::join!(ours, theirs, back);
    }
}

async fn a_thousand_streams_one_after_another_pass_the_first_limit_and_leave_nothing_behind(
    role: Role,
) {
    let ours = config(|config| {
        config.max_concurrent_bidi_streams(10).max_concurrent_uni_streams(10);
    });
    let theirs = their_config(|config| {
        config.max_streams_bidi = 10;
        config.max_streams_uni = 10;
    });
    let pair = Pair::new(role, ours, theirs).await;
    let (echo, their_echo) = pair.start_echoes();
    for seed in 0..1_000u32 {
        let seed = seed as u8;
        get_echo(&pair.ours, seed, 100).await;
        pair.they_get_echo(seed, 100).await;
        // One way there, and by their echo one way back.
        let mut send = within("opening", pair.ours.open_uni()).await.unwrap();
        send.write_all(b"there").await.unwrap();
        send.finish().unwrap();
        let mut recv = within("a stream", pair.ours.accept_uni()).await;
        let all = within("all of it", recv.as_mut().unwrap().read_to_end(10)).await.unwrap();
        assert_eq!(all, b"there");
    }
    echo.idle().await;
    their_echo.abort();
    // A stream lives until its last frame has left, which an exchange on a later stream shows.
    let _marker = pair.open(Opener::Us).await;
    assert_eq!(pair.ours.stats().live_streams, 1, "more than the marker");
}

/// The crate has numbers of 32 bits for its own codes; ours it takes whole.
const CODES: [u64; 3] = [(1 << 62) - 1, 4242, 0];

async fn our_reset_and_our_stop_reach_them_with_their_codes(role: Role) {
    let pair = Pair::new(role, Config::default(), qmux::Config::default()).await;
    for opener in Opener::BOTH {
        for number in CODES {
            let (mut stream, (mut their_send, mut their_recv)) = pair.open(opener).await;
            stream.send().reset(code(number)).unwrap();
            let read = they_read_to_error(&mut their_recv).await;
            assert!(matches!(&read, Some(Error::StreamReset(code)) if code.into_inner() == number));
            stream.recv().stop(code(number)).unwrap();
            let end = within("their stop", their_send.closed()).await;
            assert!(matches!(&end, Err(Error::StreamStop(code)) if code.into_inner() == number));
        }
    }
}

async fn our_reset_behind_a_part_of_a_stream_is_a_reset_to_them(role: Role) {
    let pair = Pair::new(role, Config::default(), qmux::Config::default()).await;
    for opener in Opener::BOTH {
        let (mut stream, (_, mut their_recv)) = pair.open(opener).await;
        stream.send().write_all(b"kept and dropped").await.unwrap();
        stream.send().reset_at(code(42), 5).unwrap();
        let read = they_read_to_error(&mut their_recv).await;
        assert!(matches!(&read, Some(Error::StreamReset(code)) if code.into_inner() == 42));
    }
    pair.exchange(Opener::Us, 100_000).await;
}

async fn their_reset_and_stop_reach_us_with_their_codes(role: Role) {
    let pair = Pair::new(role, Config::default(), qmux::Config::default()).await;
    for opener in Opener::BOTH {
        for number in [u32::MAX, 4242, 0] {
            let (mut stream, (mut their_send, mut their_recv)) = pair.open(opener).await;
            their_send.reset(number);
            assert_eq!(reset_code(stream.recv()).await, u64::from(number));
            their_recv.stop(number);
            assert_eq!(stop_code(stream.send()).await, u64::from(number));
            let written = stream.send().write(b"more").await;
            assert!(matches!(written, Err(WriteError::Stopped(told)) if told == number.into()));
        }
    }
}

async fn streams_given_up_in_the_middle_of_data_leave_the_connection_whole(role: Role) {
    const ENDLESS: u64 = 1 << 40;
    // Of its connection's window the crate never gives back what a stopped stream had in flight or unread:
    // with its default of a MiB the connection stands still after a few rounds of this.
    let theirs = their_config(|config| config.max_data = 64 * MIB);
    let pair = Pair::new(role, Config::default(), theirs).await;
    for opener in Opener::BOTH {
        for round in 1..6 {
            let some = round * 100_000;
            // They stop, and we do.
            let (mut stream, (mut their_send, mut their_recv)) = pair.open(opener).await;
            let (send, recv) = stream.split();
            let they_write = async {
                while their_send.write_chunk(Bytes::from_static(&[7; 10_000])).await.is_ok() {}
                their_send.closed().await
            };
            let they_stop = async {
                let mut read = 0;
                while read < some {
                    read += their_recv.read_chunk(usize::MAX).await.unwrap().unwrap().len();
                }
                their_recv.stop(77);
            };
            let we_stop = async {
                recv.read_exact(&mut vec![0; some]).await.unwrap();
                recv.stop(code(78)).unwrap();
            };
            let (written, stopped, ..) = within("both stops", async {
                tokio::join!(write_pattern(send, 1, 0, ENDLESS), they_write, they_stop, we_stop)
            })
            .await;
            assert!(matches!(written, Err(WriteError::Stopped(told)) if told == code(77)));
            assert!(matches!(stopped, Err(Error::StreamStop(told)) if told.into_inner() == 78));
        }
        pair.exchange(opener, MIB).await;
    }
}

/// The crate's own defaults, as a receiver, would not do this: its four windows fill its connection's.
async fn readers_of_ours_that_stall_cost_another_stream_nothing(role: Role) {
    let pair = Pair::new(role, Config::default(), qmux::Config::default()).await;
    let mut stalled = Vec::new();
    let mut writers = JoinSet::new();
    for _ in 0..6 {
        let (ours, (mut their_send, their_recv)) = pair.open(Opener::Them).await;
        stalled.push(ours);
        writers.spawn(async move {
            they_send_pattern(&mut their_send, 9, 2 * MIB).await;
            their_recv
        });
    }
    pair.exchange(Opener::Them, 8 * MIB).await;
    for mut stream in stalled {
        receive_pattern(stream.recv(), 9, 2 * MIB).await;
    }
    writers.join_all().await;
}

const REASON: &str = "enough – genug";

async fn our_close_reaches_them_with_code_and_reason(role: Role) {
    for number in [42, 0, 3_000_000_000] {
        let pair = Pair::new(role, Config::default(), qmux::Config::default()).await;
        let (mut stream, (_their_send, mut their_recv)) = pair.open(Opener::Us).await;
        send_pattern(stream.send(), 5, 1_000).await;
        they_receive_pattern(&mut their_recv, 5, 1_000).await;
        pair.ours.close(code(number), REASON.as_bytes());
        let told = within("their end", pair.theirs.closed()).await;
        let Error::ConnectionClosed { code, reason } = told else { panic!("{told:?}") };
        assert_eq!((code.into_inner(), &reason[..]), (number, REASON));
        let end = within("our end", pair.ours.closed()).await;
        assert!(matches!(end, ConnectionError::LocallyClosed), "{end:?}");
    }
}

async fn their_close_reaches_us_with_code_and_reason(role: Role) {
    for number in [42, 0, u32::MAX] {
        let pair = Pair::new(role, Config::default(), qmux::Config::default()).await;
        let (mut stream, (mut their_send, _their_recv)) = pair.open(Opener::Them).await;
        // What they sent before stays readable, and then the stream tells of the close.
        their_send.write_all(b"before").await.unwrap();
        pair.exchange(Opener::Them, 1).await;
        pair.theirs.close(number, REASON);
        let end = within("our end", pair.ours.closed()).await;
        let ConnectionError::ApplicationClosed(told) = end else { panic!("{end:?}") };
        assert_eq!((told.error_code, &told.reason[..]), (number.into(), REASON.as_bytes()));
        let mut before = [0; 6];
        stream.recv().read_exact(&mut before).await.unwrap();
        assert_eq!(&before, b"before");
        let after = stream.recv().read_chunk(1).await;
        assert!(
            matches!(&after, Err(ReadError::ConnectionLost(ConnectionError::ApplicationClosed(close)))
                if *close == told)
        );
    }
}

async fn datagrams_go_both_ways(role: Role) {
    let pair = Pair::new(role, Config::default(), qmux::Config::default()).await;
    // Our connection waits for their parameters, theirs not for ours, which come before any stream.
    pair.exchange(Opener::Us, 1).await;
    let (to_them, to_us) =
        (pair.ours.max_datagram_size().unwrap(), pair.theirs.max_datagram_size());
    assert!(to_them > 16_000 && to_us > 60_000, "{to_them}, {to_us}");
    for len in [0, 1, 1_200, to_them] {
        let sent = pattern(3, 0, len);
        pair.ours.send_datagram(sent.clone()).unwrap();
        assert_eq!(within("their datagram", pair.theirs.recv_datagram()).await.unwrap(), sent);
    }
    for len in [0, 1, 1_200, to_us] {
        let sent = pattern(4, 0, len);
        pair.theirs.send_datagram(sent.clone()).unwrap();
        assert_eq!(within("our datagram", pair.ours.read_datagram()).await.unwrap(), sent);
    }
    let refused = pair.ours.send_datagram(pattern(5, 0, to_them + 1));
    assert!(matches!(refused, Err(SendDatagramError::TooLarge)), "{refused:?}");
}

async fn an_application_protocol_is_agreed_on(role: Role) {
    let pair = match role {
        Role::WeServe => {
            let server = WebSocketServer::builder().protocol("chat").bind("127.0.0.1:0").await;
            let client = qmux::ws::Client::new().with_protocol("chat", &[]);
            Pair::we_serve(server.unwrap(), "ws", client).await
        }
        Role::WeConnect => {
            let client = WebSocketClient::builder().protocol("chat").build().unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("ws://{}/", listener.local_addr().unwrap());
            let server = qmux::ws::Server::new().with_protocol("chat", &[]);
            let accepted = async { server.accept(tcp(&listener).await).await.unwrap() };
            Pair::we_connect(client, &url, accepted).await
        }
    };
    assert_eq!(pair.ours.subprotocol(), Some("qmux-02.chat"));
    assert_eq!(pair.theirs.protocol(), Some("chat"));
    pair.exchange(Opener::Us, 1_000).await;
}

async fn a_peer_that_knows_the_older_draft_alone_is_understood(role: Role) {
    const OLDER: &[qmux::Version] = &[qmux::Version::QMux01];
    let pair = match role {
        Role::WeServe => {
            let server = WebSocketServer::builder().protocol("moqt-18").bind("127.0.0.1:0").await;
            let client = qmux::ws::Client::new().with_protocol("moqt-18", OLDER).require_protocol();
            Pair::we_serve(server.unwrap(), "ws", client).await
        }
        Role::WeConnect => {
            let client = WebSocketClient::builder().protocol("moqt-18").older_versions(true);
            let client = client.require_protocol(true).build().unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("ws://{}/", listener.local_addr().unwrap());
            let server = qmux::ws::Server::new().with_protocol("moqt-18", OLDER).require_protocol();
            let accepted = async { server.accept(tcp(&listener).await).await.unwrap() };
            Pair::we_connect(client, &url, accepted).await
        }
    };
    assert_eq!(pair.ours.subprotocol(), Some("qmux-01.moqt-18"));
    assert_eq!(pair.ours.protocol(), Some("moqt-18"));
    assert_eq!(pair.theirs.protocol(), Some("moqt-18"));
    pair.exchange(Opener::Us, 1_000_000).await;
    pair.exchange(Opener::Them, 1_000_000).await;
}

async fn everything_works_over_tls(role: Role) {
    let pair = Pair::over_tls(role).await;
    let _echoes = pair.start_echoes();
    get_echo(&pair.ours, 1, 8 * MIB).await;
    pair.they_get_echo(2, 8 * MIB).await;
    pair.ours.close(code(42), REASON.as_bytes());
    let told = within("their end", pair.theirs.closed()).await;
    assert!(
        matches!(&told, Error::ConnectionClosed { reason, .. } if reason == REASON),
        "{told:?}"
    );
    within("our end", pair.ours.closed()).await;
}
