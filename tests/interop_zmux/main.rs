//! The QMux wire against a third implementation of it, the crates `zmux` and `zmux-websocket`, over ws and wss: the
//! stories of tests/interop_qmux. Each is told twice, with our server and with our client.

use wsmux_testing::interop;
mod pair;

use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinSet;
use wsmux::{
    Config, ConnectionError, ReadError, SendDatagramError, WebSocketClient, WebSocketServer,
    WriteError,
};
use zmux::{DatagramError, SessionError, StreamError};
use zmux_websocket::Options;

use interop::*;
use pair::*;

in_both_roles! {
    sixty_four_mib_come_back_through_small_windows_of_ours,
    sixty_four_mib_come_back_through_small_windows_of_theirs,
    several_streams_run_at_once_in_each_direction,
    unidirectional_streams_go_both_ways,
    a_thousand_streams_in_a_row_leave_nothing_behind,
    our_reset_and_our_stop_reach_them_with_their_codes,
    our_reset_after_a_part_of_a_stream_keeps_that_part,
    their_reset_and_stop_reach_us_with_their_codes,
    streams_given_up_in_the_middle_of_data_leave_the_connection_whole,
    readers_of_ours_that_stall_cost_another_stream_nothing,
    our_close_reaches_them_with_code_and_reason,
    their_close_reaches_us_with_code_and_reason,
    a_shutdown_of_either_end_loses_nothing,
    datagrams_go_both_ways,
    an_application_protocol_is_agreed_on_by_each_name,
    everything_works_over_tls,
}

/// So small that a MiB takes 256 grants; the crate takes no less.
const SMALL: u64 = 4 * KIB;

async fn sixty_four_mib_come_back_through_small_windows_of_ours(role: Role) {
    let ours = config(|config| _ = config.stream_window(SMALL));
    let pair = Pair::new(role, ours, zmux::Config::default()).await;
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
    let pair = Pair::new(role, Config::default(), zmux::Config::default()).await;
    let (echo, _) = pair.start_echoes();
    let pair = Arc::new(pair);
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
    let pair = Pair::new(role, Config::default(), zmux::Config::default()).await;
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

async fn a_thousand_streams_in_a_row_leave_nothing_behind(role: Role) {
    let ours = config(|config| {
        config.max_concurrent_bidi_streams(10).max_concurrent_uni_streams(10);
    });
    let theirs = their_config(|config| {
        config.max_incoming_streams = 10;
        config.max_incoming_uni_streams = Some(10);
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

const CODES: [u64; 3] = [(1 << 62) - 1, 4242, 0];

fn their_code(value: u64) -> zmux::VarInt {
    zmux::VarInt::from_u64(value).expect("a code of 62 bits")
}

async fn our_reset_and_our_stop_reach_them_with_their_codes(role: Role) {
    let pair = Pair::new(role, Config::default(), zmux::Config::default()).await;
    for opener in Opener::BOTH {
        for number in CODES {
            let (mut stream, (their_send, mut their_recv)) = pair.open(opener).await;
            stream.send().reset(code(number)).unwrap();
            match they_read_to_error(&mut their_recv).await.1 {
                Some(StreamError::Reset { code, .. }) => assert_eq!(code.into_inner(), number),
                other => panic!("{other:?}"),
            }
            stream.recv().stop(code(number)).unwrap();
            let stopped = within("their stop", their_send.stopped()).await;
            assert_eq!(stopped.unwrap(), Some(their_code(number)));
        }
    }
}

/// The crate delivers what was promised of a stream that is reset (RESET_STREAM_AT), which crate `qmux` drops.
async fn our_reset_after_a_part_of_a_stream_keeps_that_part(role: Role) {
    let pair = Pair::new(role, Config::default(), zmux::Config::default()).await;
    for opener in Opener::BOTH {
        let (mut stream, (_their_send, mut their_recv)) = pair.open(opener).await;
        stream.send().write_all(b"kept and dropped").await.unwrap();
        // The byte that opened the stream is one of them.
        stream.send().reset_at(code(42), 5).unwrap();
        let (kept, end) = they_read_to_error(&mut their_recv).await;
        assert!(b"kept and dropped".starts_with(&kept) && kept.len() >= 4, "{kept:?}");
        match end {
            Some(StreamError::Reset { code, .. }) => assert_eq!(code.into_inner(), 42),
            other => panic!("{other:?}"),
        }
    }
    pair.exchange(Opener::Us, 100_000).await;
}

async fn their_reset_and_stop_reach_us_with_their_codes(role: Role) {
    let pair = Pair::new(role, Config::default(), zmux::Config::default()).await;
    for opener in Opener::BOTH {
        for number in CODES {
            let (mut stream, (mut their_send, mut their_recv)) = pair.open(opener).await;
            their_send.reset(their_code(number)).unwrap();
            assert_eq!(reset_code(stream.recv()).await, number);
            their_recv.stop(their_code(number)).unwrap();
            assert_eq!(stop_code(stream.send()).await, number);
            let written = stream.send().write(b"more").await;
            assert!(matches!(written, Err(WriteError::Stopped(told)) if told == code(number)));
        }
    }
}

async fn streams_given_up_in_the_middle_of_data_leave_the_connection_whole(role: Role) {
    const ENDLESS: u64 = 1 << 40;
    let pair = Pair::new(role, Config::default(), zmux::Config::default()).await;
    for opener in Opener::BOTH {
        for round in 1..6 {
            let some = round * 100_000;
            // They stop, and we do.
            let (mut stream, (mut their_send, mut their_recv)) = pair.open(opener).await;
            let (send, recv) = stream.split();
            let they_write = async {
                while their_send.write_chunk(Bytes::from_static(&[7; 10_000])).await.is_ok() {}
                their_send.stopped().await
            };
            let they_stop = async {
                let mut read = 0;
                while read < some {
                    read += their_recv.read_chunk(usize::MAX).await.unwrap().unwrap().len();
                }
                their_recv.stop(their_code(77)).unwrap();
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
            assert_eq!(stopped.unwrap(), Some(their_code(78)));
        }
        pair.exchange(opener, MIB).await;
    }
}

async fn readers_of_ours_that_stall_cost_another_stream_nothing(role: Role) {
    let pair = Pair::new(role, Config::default(), zmux::Config::default()).await;
    let mut stalled = Vec::new();
    let mut writers = JoinSet::new();
    for _ in 0..6 {
        let (ours, (mut their_send, their_recv)) = pair.open(Opener::Them).await;
        stalled.push(ours);
        writers.spawn(async move {
            they_send_pattern(&mut their_send, 9, 2 * MIB).await;
            (their_send, their_recv)
        });
    }
    pair.exchange(Opener::Them, 8 * MIB).await;
    for stream in &mut stalled {
        receive_pattern(stream.recv(), 9, 2 * MIB).await;
    }
    writers.join_all().await;
}

const REASON: &str = "enough – genug";

async fn our_close_reaches_them_with_code_and_reason(role: Role) {
    for number in [42, 0, (1 << 62) - 1] {
        let pair = Pair::new(role, Config::default(), zmux::Config::default()).await;
        let (mut stream, (_their_send, mut their_recv)) = pair.open(Opener::Us).await;
        send_pattern(stream.send(), 5, 1_000).await;
        they_receive_pattern(&mut their_recv, 5, 1_000).await;
        pair.ours.close(code(number), REASON.as_bytes());
        match within("their end", pair.theirs.closed()).await {
            SessionError::ApplicationClosed { code, reason, remote } => {
                assert_eq!((code.into_inner(), &reason[..]), (number, REASON.as_bytes()));
                assert!(remote, "we closed it");
            }
            other => panic!("{other:?}"),
        }
        let end = within("our end", pair.ours.closed()).await;
        assert!(matches!(end, ConnectionError::LocallyClosed), "{end:?}");
    }
}

async fn their_close_reaches_us_with_code_and_reason(role: Role) {
    for number in [42, 0, (1 << 62) - 1] {
        let pair = Pair::new(role, Config::default(), zmux::Config::default()).await;
        let (mut stream, (mut their_send, _their_recv)) = pair.open(Opener::Them).await;
        // What they sent before stays readable, and then the stream tells of the close.
        their_send.write_all(b"before").await.unwrap();
        pair.exchange(Opener::Them, 1).await;
        pair.theirs.close(their_code(number), REASON.as_bytes());
        let end = within("our end", pair.ours.closed()).await;
        let ConnectionError::ApplicationClosed(told) = end else { panic!("{end:?}") };
        assert_eq!((told.error_code, &told.reason[..]), (code(number), REASON.as_bytes()));
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

async fn a_shutdown_of_either_end_loses_nothing(role: Role) {
    for opener in Opener::BOTH {
        let pair = Pair::new(role, Config::default(), zmux::Config::default()).await;
        let (mut stream, (mut their_send, mut their_recv)) = pair.open(opener).await;
        // Half of it is on its way when the shutdown begins.
        let (send, recv) = stream.split();
        let all = async {
            tokio::join!(
                send_pattern(send, 1, 4 * MIB),
                receive_pattern(recv, 2, 4 * MIB),
                they_send_pattern(&mut their_send, 2, 4 * MIB),
                they_receive_pattern(&mut their_recv, 1, 4 * MIB),
            );
        };
        let ((), end) = tokio::join!(all, within("the shutdown", pair.ours.shutdown()));
        match within("their end", pair.theirs.closed()).await {
            SessionError::ApplicationClosed { code, remote: true, .. } => {
                assert_eq!(code.into_inner(), 0, "{end:?}");
            }
            other => panic!("{other:?}"),
        }
    }
}

async fn datagrams_go_both_ways(role: Role) {
    let theirs = their_config(|config| config.enable_datagrams = true);
    let pair = Pair::new(role, Config::default(), theirs).await;
    pair.exchange(Opener::Us, 1).await;
    let to_them = pair.ours.max_datagram_size().unwrap();
    let to_us = pair.theirs.max_datagram_size().unwrap();
    assert!(to_them > 16_000 && to_us > 16_000, "{to_them}, {to_us}");
    for len in [0, 1, 1_200, to_them] {
        let sent = pattern(3, 0, len);
        pair.ours.send_datagram(sent.clone()).unwrap();
        assert_eq!(within("their datagram", pair.theirs.read_datagram()).await.unwrap(), sent);
    }
    for len in [0, 1, 1_200, to_us] {
        let sent = pattern(4, 0, len);
        pair.theirs.send_datagram(sent.clone()).unwrap();
        assert_eq!(within("our datagram", pair.ours.read_datagram()).await.unwrap(), sent);
    }
    let refused = pair.ours.send_datagram(pattern(5, 0, to_them + 1));
    assert!(matches!(refused, Err(SendDatagramError::TooLarge)), "{refused:?}");

    // Without them at one end there are none.
    let pair = Pair::new(role, Config::default(), zmux::Config::default()).await;
    let refused = pair.ours.send_datagram(Bytes::new());
    assert!(matches!(refused, Err(SendDatagramError::UnsupportedByPeer)), "{refused:?}");
    let none = config(|config| _ = config.datagram_receive_buffer(0));
    let theirs = their_config(|config| config.enable_datagrams = true);
    let pair = Pair::new(role, none, theirs).await;
    let refused = pair.theirs.send_datagram(Bytes::new());
    assert!(matches!(refused, Err(DatagramError::NotNegotiated)), "{refused:?}");
}

/// After the version's name and a dot, after the older version's, and alone.
async fn an_application_protocol_is_agreed_on_by_each_name(role: Role) {
    let chat = || Options::for_application("chat");
    for (name, options, application) in [
        ("qmux-02.chat", chat(), "chat"),
        ("qmux-01.chat", chat(), "chat"),
        ("moqt-18", Options::for_protocol("moqt-18"), "moqt-18"),
        ("com.example.rpc", Options::for_protocol("com.example.rpc"), "com.example.rpc"),
    ] {
        let theirs = zmux::Config::default();
        let pair = match role {
            Role::WeServe => {
                let server = WebSocketServer::builder().protocol("chat");
                let server = server.bare_protocol("moqt-18").bare_protocol("com.example.rpc");
                Pair::we_serve(server, name, &options, theirs).await
            }
            Role::WeConnect => {
                let client = WebSocketClient::builder().subprotocols([name]);
                Pair::we_connect(client, options, theirs).await
            }
        };
        assert_eq!(pair.ours.subprotocol(), Some(name));
        assert_eq!(pair.ours.protocol(), Some(application));
        assert_eq!(pair.theirs.protocol().as_deref(), Some(name));
        pair.exchange(Opener::Us, 1_000).await;
        pair.exchange(Opener::Them, 1_000).await;
    }
    // With what each offers by itself.
    let theirs = zmux::Config::default();
    let pair = match role {
        Role::WeServe => {
            Pair::we_serve(WebSocketServer::builder().protocol("chat"), "", &chat(), theirs).await
        }
        Role::WeConnect => {
            Pair::we_connect(WebSocketClient::builder().protocol("chat"), chat(), theirs).await
        }
    };
    assert_eq!(pair.ours.subprotocol(), Some("qmux-02.chat"));
}

async fn everything_works_over_tls(role: Role) {
    let pair = Pair::over_tls(role).await;
    let _echoes = pair.start_echoes();
    get_echo(&pair.ours, 1, 8 * MIB).await;
    pair.they_get_echo(2, 8 * MIB).await;
    pair.ours.close(code(42), REASON.as_bytes());
    match within("their end", pair.theirs.closed()).await {
        SessionError::ApplicationClosed { reason, .. } => assert_eq!(reason, REASON),
        other => panic!("{other:?}"),
    }
    within("our end", pair.ours.closed()).await;
}
