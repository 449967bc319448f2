//! The tests that each implementation has to pass, with our server and with our client.

use bytes::Bytes;
use tokio::task::JoinSet;
use wsmux::{
    Config, ConnectionClose, ConnectionError, ReadError, SendDatagramError, WebSocketStream,
    WriteError,
};

use super::{interop::*, *};

/// Creates a module that runs each function below for the implementation `$them`, with our server
/// and with our client.
macro_rules! every_test {
    ($them:ty) => {
        mod every_implementation {
            use wsmux_testing::interop::{Role, in_both_roles};

            use $crate::foreign::tests::*;

            type Them = $them;

            in_both_roles! {
                <Them>
                sixty_four_mib_come_back_through_small_windows_of_ours,
                sixty_four_mib_come_back_through_small_windows_of_theirs,
                several_streams_run_at_once_in_each_direction,
                unidirectional_streams_go_both_ways,
                a_thousand_streams_in_a_row_leave_nothing_behind,
                our_reset_and_our_stop_reach_them_with_their_codes,
                their_reset_and_stop_reach_us_with_their_codes,
                streams_given_up_in_the_middle_of_data_leave_the_connection_whole,
                readers_of_ours_that_stall_cost_another_stream_nothing,
                our_close_reaches_them_with_code_and_reason,
                their_close_reaches_us_with_code_and_reason,
                datagrams_go_both_ways,
                everything_works_over_tls,
                an_offer_of_resumption_changes_nothing_for_them,
            }
        }
    };
}
pub(crate) use every_test;

/// A window that is so small that 1 MiB takes 256 grants. Crate `zmux` accepts no smaller window.
const SMALL: u64 = 4 * KIB;

async fn defaults<F: Foreign>(role: Role) -> Pair<F> {
    Pair::new(role, Config::default(), F::Config::default()).await
}

pub(crate) async fn sixty_four_mib_come_back_through_small_windows_of_ours<F: Foreign>(role: Role) {
    let ours = config(|config| _ = config.stream_receive_window(SMALL));
    let pair = Pair::<F>::new(role, ours, F::Config::default()).await;
    let _echoes = pair.start_echoes();
    get_echo(&pair.ours, 1, 32 * MIB).await;
    pair.they_get_echo(2, 32 * MIB).await;
}

pub(crate) async fn sixty_four_mib_come_back_through_small_windows_of_theirs<F: Foreign>(
    role: Role,
) {
    let theirs = F::config(Settings { stream_receive_window: Some(SMALL), ..Settings::default() });
    let pair = Pair::<F>::new(role, Config::default(), theirs).await;
    let _echoes = pair.start_echoes();
    get_echo(&pair.ours, 1, 32 * MIB).await;
    pair.they_get_echo(2, 32 * MIB).await;
}

pub(crate) async fn several_streams_run_at_once_in_each_direction<F: Foreign>(role: Role) {
    let pair = defaults::<F>(role).await;
    let (echo, _) = pair.start_echoes();
    let mut streams = JoinSet::new();
    for seed in 0..100 {
        let (ours, theirs) = (pair.ours.clone(), pair.theirs.clone());
        streams.spawn(async move { get_echo(&ours, seed, 200_000).await });
        streams.spawn(async move { they_get_echo(&theirs, seed, 200_000).await });
    }
    streams.join_all().await;
    echo.idle().await;
}

pub(crate) async fn unidirectional_streams_go_both_ways<F: Foreign>(role: Role) {
    let pair = defaults::<F>(role).await;
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

pub(crate) async fn a_thousand_streams_in_a_row_leave_nothing_behind<F: Foreign>(role: Role) {
    let ours = config(|config| {
        config.max_concurrent_bidi_streams(10).max_concurrent_uni_streams(10);
    });
    let theirs = F::config(Settings { streams: Some(10), ..Settings::default() });
    let pair = Pair::<F>::new(role, ours, theirs).await;
    let (echo, their_echo) = pair.start_echoes();
    for seed in 0..1_000u32 {
        let seed = seed as u8;
        get_echo(&pair.ours, seed, 100).await;
        pair.they_get_echo(seed, 100).await;
        // We send on one unidirectional stream, and their echo answers on another one.
        let mut send = within("opening", pair.ours.open_uni()).await.unwrap();
        send.write_all(b"there").await.unwrap();
        send.finish().unwrap();
        let mut recv = within("a stream", pair.ours.accept_uni()).await;
        let all = within("all of it", recv.as_mut().unwrap().read_to_end(10)).await.unwrap();
        assert_eq!(all, b"there");
    }
    echo.idle().await;
    their_echo.abort();
    // A stream is live until its last frame has been sent. Once a later stream has been used, the
    // last frames of all earlier streams have been sent.
    let _marker = pair.open(Opener::Us).await;
    assert_eq!(pair.ours.stats().live_streams, 1, "more than the marker");
}

/// The largest application error code that the wire can carry.
const LARGEST: u64 = (1 << 62) - 1;

pub(crate) async fn our_reset_and_our_stop_reach_them_with_their_codes<F: Foreign>(role: Role) {
    let pair = defaults::<F>(role).await;
    for opener in Opener::BOTH {
        for number in [LARGEST, 4242, 0] {
            let (mut stream, (mut their_send, mut their_recv)) = pair.open(opener).await;
            stream.send().reset(code(number)).unwrap();
            assert_eq!(they_read_to_end(&mut their_recv).await.1, Some(End::Code(number)));
            stream.recv().stop(code(number)).unwrap();
            assert_eq!(within("their stop", their_send.stopped()).await, End::Code(number));
        }
    }
}

pub(crate) async fn their_reset_and_stop_reach_us_with_their_codes<F: Foreign>(role: Role) {
    let pair = defaults::<F>(role).await;
    for opener in Opener::BOTH {
        for number in [F::LARGEST_CODE, 4242, 0] {
            let (mut stream, (mut their_send, mut their_recv)) = pair.open(opener).await;
            their_send.reset(number);
            assert_eq!(reset_code(stream.recv()).await, number);
            their_recv.stop(number);
            assert_eq!(stop_code(stream.send()).await, number);
            let written = stream.send().write(b"more").await;
            assert!(
                matches!(written, Err(WriteError::Stopped(stopped)) if stopped == code(number))
            );
        }
    }
}

pub(crate) async fn streams_given_up_in_the_middle_of_data_leave_the_connection_whole<
    F: Foreign,
>(
    role: Role,
) {
    const ENDLESS: u64 = 1 << 40;
    // If an implementation does not return all credit of a stopped stream, a few rounds would use
    // up a connection window of 1 MiB, which is a common default.
    let connection_window = (!F::RETURNS_CREDIT_OF_STOPPED_STREAMS).then_some(64 * MIB);
    let theirs = F::config(Settings { connection_window, ..Settings::default() });
    let pair = Pair::<F>::new(role, Config::default(), theirs).await;
    for opener in Opener::BOTH {
        for round in 1..6 {
            let some = round * 100_000;
            // Each end stops the sending half of the other end.
            let (mut stream, (mut their_send, mut their_recv)) = pair.open(opener).await;
            let (send, recv) = stream.split();
            let they_write = async {
                while their_send.write(Bytes::from_static(&[7; 10_000])).await.is_ok() {}
                their_send.stopped().await
            };
            let they_stop = async {
                let mut read = 0;
                while read < some {
                    read += their_recv.read(usize::MAX).await.unwrap().unwrap().len();
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
            assert!(matches!(written, Err(WriteError::Stopped(stopped)) if stopped == code(77)));
            assert_eq!(stopped, End::Code(78));
        }
        pair.exchange(opener, MIB).await;
    }
}

/// Only readers of our end stall here. If six readers of the crate `qmux` stalled, the test would
/// fail, because four full stream windows use up the default connection window of that crate.
pub(crate) async fn readers_of_ours_that_stall_cost_another_stream_nothing<F: Foreign>(role: Role) {
    let pair = defaults::<F>(role).await;
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

pub(crate) async fn our_close_reaches_them_with_code_and_reason<F: Foreign>(role: Role) {
    for number in [42, 0, LARGEST] {
        let pair = defaults::<F>(role).await;
        let (mut stream, (_their_send, mut their_recv)) = pair.open(Opener::Us).await;
        send_pattern(stream.send(), 5, 1_000).await;
        they_receive_pattern(&mut their_recv, 5, 1_000).await;
        pair.ours.close(code(number), REASON.as_bytes());
        let close = within("their end", pair.theirs.closed()).await;
        assert_eq!(close, (number, REASON.to_owned()));
        let end = within("our end", pair.ours.closed()).await;
        assert!(matches!(end, ConnectionError::LocallyClosed), "{end:?}");
    }
}

/// Makes the foreign end close a connection with `number`. Returns the error that our end reports,
/// and a stream of the connection. If the implementation may lose its own close, this tries again.
async fn closed_by_them<F: Foreign>(role: Role, number: u64) -> (ConnectionError, WebSocketStream) {
    const TRIES: usize = 20;
    for _ in 0..TRIES {
        let pair = defaults::<F>(role).await;
        let (stream, (mut their_send, _their_recv)) = pair.open(Opener::Them).await;
        // Bytes that the foreign end sent before the close can still be read. After that, the
        // stream reports the close.
        their_send.write(Bytes::from_static(b"before")).await.unwrap();
        pair.exchange(Opener::Them, 1).await;
        pair.theirs.close(number, REASON);
        let end = within("our end", pair.ours.closed()).await;
        // 1005 stands for a Close without a code (RFC 6455 §7.1.5). We report 1005 only if no
        // CONNECTION_CLOSE came before the Close.
        let is_lost = |close: &ConnectionClose| close.reason.starts_with(b"WebSocket close 1005");
        match &end {
            ConnectionError::ConnectionClosed(close) if F::MAY_LOSE_ITS_CLOSE && is_lost(close) => {
            }
            _ => return (end, stream),
        }
    }
    panic!("they lost their close {TRIES} times");
}

pub(crate) async fn their_close_reaches_us_with_code_and_reason<F: Foreign>(role: Role) {
    for number in [42, 0, F::LARGEST_CODE] {
        let (end, mut stream) = closed_by_them::<F>(role, number).await;
        let ConnectionError::ApplicationClosed(seen) = end else { panic!("{end:?}") };
        assert_eq!((seen.error_code, &seen.reason[..]), (code(number), REASON.as_bytes()));
        let mut before = [0; 6];
        stream.recv().read_exact(&mut before).await.unwrap();
        assert_eq!(&before, b"before");
        let after = stream.recv().read_chunk(1).await;
        assert!(
            matches!(&after, Err(ReadError::ConnectionLost(ConnectionError::ApplicationClosed(close)))
                if *close == seen)
        );
    }
}

pub(crate) async fn datagrams_go_both_ways<F: Foreign>(role: Role) {
    let theirs = F::config(Settings { datagrams: true, ..Settings::default() });
    let pair = Pair::<F>::new(role, Config::default(), theirs).await;
    // Once our end is connected, it has the parameters of the other end. The other end may not have
    // our parameters yet. Our parameters arrive there before our first stream, so the other end has
    // them after this exchange.
    pair.exchange(Opener::Us, 1).await;
    let to_them = pair.ours.max_datagram_size().unwrap();
    let to_us = pair.theirs.max_datagram_size();
    assert!(to_them > 16_000 && to_us > F::DATAGRAM_SIZE, "{to_them}, {to_us}");
    for len in [0, 1, 1_200, to_them] {
        let sent = pattern(3, 0, len);
        pair.ours.send_datagram(sent.clone()).unwrap();
        assert_eq!(within("their datagram", pair.theirs.read_datagram()).await.unwrap(), sent);
    }
    for len in [0, 1, 1_200, to_us] {
        let sent = pattern(4, 0, len);
        assert!(pair.theirs.send_datagram(sent.clone()));
        assert_eq!(within("our datagram", pair.ours.read_datagram()).await.unwrap(), sent);
    }
    let refused = pair.ours.send_datagram(pattern(5, 0, to_them + 1));
    assert!(matches!(refused, Err(SendDatagramError::TooLarge)), "{refused:?}");
}

pub(crate) async fn everything_works_over_tls<F: Foreign>(role: Role) {
    let pair = Pair::<F>::over_tls(role).await;
    let _echoes = pair.start_echoes();
    get_echo(&pair.ours, 1, 8 * MIB).await;
    pair.they_get_echo(2, 8 * MIB).await;
    pair.ours.close(code(42), REASON.as_bytes());
    let (_, reason) = within("their end", pair.theirs.closed()).await;
    assert_eq!(reason, REASON);
    within("our end", pair.ours.closed()).await;
}

/// The other implementations ignore the offer, because it is a parameter that they do not know. So
/// the connection ends when its socket is lost, as it does without an offer.
pub(crate) async fn an_offer_of_resumption_changes_nothing_for_them<F: Foreign>(role: Role) {
    let ours = config(|config| {
        config.resume_timeout(Some(std::time::Duration::from_secs(60)));
    });
    let pair = Pair::<F>::new(role, ours, F::Config::default()).await;
    for opener in Opener::BOTH {
        pair.exchange(opener, 3 * MIB).await;
    }
    assert_eq!(pair.ours.session_state(), wsmux::SessionState::Fixed);
    pair.ours.close(code(42), b"enough");
    within("our end", pair.ours.closed()).await;
    assert_eq!(within("their end", pair.theirs.closed()).await, (42, "enough".to_owned()));
}
