//! The pauses between attempts to connect.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use wsmux::{
    ConnectError,
    http::{HeaderMap, StatusCode},
};

use super::{Connects, Fails, INITIAL, MAX, connected, failed, unreachable, waiting, world};

#[tokio::test(start_paused = true)]
async fn pauses_double_up_to_a_limit_and_are_kept() {
    let (builder, _servers) = world((0..12).map(|_| unreachable()).chain([Connects]));
    let (client, mut events) = builder.start();
    assert!(client.current().is_none());
    for attempt in 1..=12 {
        let start = Instant::now();
        assert!(matches!(failed(&mut events, attempt).await, ConnectError::Connect(_)));
        assert!(start.elapsed() <= Duration::from_millis(2), "{:?}", start.elapsed());
        let delay = waiting(&mut events, attempt + 1).await;
        let longest = MAX.min(INITIAL * (1 << (attempt - 1)));
        assert!(delay <= longest, "{delay:?} before attempt {}", attempt + 1);
        tokio::time::sleep(delay).await;
    }
    connected(&mut events, 13).await;
    assert!(client.current().is_some());
}

fn refused_with(status: u16, headers: &[(&'static str, &str)]) -> ConnectError {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, value.parse().unwrap());
    }
    let status = StatusCode::from_u16(status).unwrap();
    ConnectError::Refused { status, headers: map.into(), body: String::new() }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_asks_for_time_gets_it_and_up_to_an_hour() {
    for (value, least) in [
        ("120", 120),
        ("0", 0),
        ("3601", 3600),
        ("99999999999999999999999999", 3600),
        ("soon", 0),
        ("-1", 0),
        ("Thu, 26 Nov 2026 10:02:00 GMT", 60),
        ("Thu, 26 Nov 2026 10:00:00 GMT", 0),
        ("Thu, 26 Nov 2099 10:00:00 GMT", 3600),
    ] {
        let date = ("date", "Thu, 26 Nov 2026 10:01:00 GMT");
        let refused = || refused_with(503, &[("retry-after", value), date]);
        let by_proxy = ConnectError::Proxy(Arc::new(refused()));
        assert_eq!(by_proxy.retry_after(), refused().retry_after());
        let (builder, _servers) = world([Fails(refused()), Fails(by_proxy), Connects]);
        let (_client, mut events) = builder.start();
        for attempt in 1..=2 {
            failed(&mut events, attempt).await;
            let delay = waiting(&mut events, attempt + 1).await;
            let least = Duration::from_secs(least);
            let longest = least + INITIAL * attempt;
            assert!((least..=longest).contains(&delay), "{value}: {delay:?}");
        }
        connected(&mut events, 3).await;
    }
    // If the header is missing, or if the error is not a refusal, `retry_after` returns nothing.
    assert_eq!(refused_with(503, &[]).retry_after(), None);
    assert_eq!(ConnectError::HandshakeTimeout.retry_after(), None);
}

#[tokio::test(start_paused = true)]
async fn clients_of_one_server_do_not_come_back_together() {
    let (mut early, mut late) = (0, 0);
    for _ in 0..64 {
        let (builder, _servers) = world([unreachable()]);
        let (_client, mut events) = builder.start();
        failed(&mut events, 1).await;
        let delay = waiting(&mut events, 2).await;
        *(if delay < INITIAL / 2 { &mut early } else { &mut late }) += 1;
    }
    // All clients are early, or all are late, by chance only once in 2^63 runs.
    assert!(early > 0 && late > 0, "{early} early, {late} late");
}
