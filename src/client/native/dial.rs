//! Makes a TCP connection to a host by its name (RFC 8305, "happy eyeballs"). If an address or an
//! address family does not answer, the client soon tries another address, without waiting for a
//! whole timeout.
//!
//! The system resolves both families in one call and sorts the addresses by RFC 6724. Therefore
//! this module makes no separate queries for the families (RFC 8305 §3). Of the sorting rules of
//! RFC 8305 §4, this module has to implement only the rule that alternates the families.

use std::{fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::{
    net::TcpStream,
    pin, select,
    time::{Instant, sleep, timeout},
};

use super::resolve::resolve;
use crate::{client::SocketOptions, error::ConnectError};

/// How long an attempt runs before the next address is tried as well. RFC 8305 §5 recommends this
/// value.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// The shortest delay that RFC 8305 §5 allows. Without such a delay, all attempts could start in
/// one burst.
const MIN_ATTEMPT_DELAY: Duration = Duration::from_millis(10);

/// How many of a host's addresses are tried, with the families alternating. A DNS response has room
/// for thousands of addresses of a name. Each attempt is a socket that may stay open until the
/// timeout. With the default timeout of 10 s, 32 attempts can start 250 ms apart, and the last
/// attempt still has 2 s to succeed.
const MAX_ADDRESSES: usize = 32;

/// The largest number of addresses that an error's text names. This many addresses fit into one
/// line of a log.
const MAX_SHOWN: usize = 8;

/// Connects to the first of the host's addresses that answers.
pub(super) async fn dial(
    host: &str,
    port: u16,
    limit: Duration,
    options: &SocketOptions,
) -> Result<TcpStream, ConnectError> {
    let start = Instant::now();
    let addresses = timeout(limit, resolve(host, port))
        .await
        .map_err(|_| ConnectError::ConnectTimeout)?
        .map_err(|error| ConnectError::Resolve(error.into()))?;
    let addresses = interleave(addresses);
    let left = limit.saturating_sub(start.elapsed());
    race(&addresses, left, |address| options.connect(address)).await
}

/// Alternates the families, starting with the family of the first address. Within a family, the
/// order does not change. Returns only the first [`MAX_ADDRESSES`] addresses of this new order.
fn interleave(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_ipv6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (mut places, mut ranked) = ([0, 0], Vec::with_capacity(addresses.len()));
    for address in addresses {
        let other = usize::from(address.is_ipv6() != first_is_ipv6);
        ranked.push((places[other], other, address));
        places[other] += 1;
    }
    ranked.sort_by_key(|&(place, other, _)| (place, other));
    ranked.into_iter().map(|(_, _, address)| address).take(MAX_ADDRESSES).collect()
}

/// Tries the addresses in order. The next address is tried when an attempt fails, or when the
/// attempt delay has passed since the latest attempt began. The first attempt that succeeds is
/// used, and the other attempts are dropped.
async fn race<T, F>(
    addresses: &[SocketAddr],
    limit: Duration,
    connect: impl Fn(SocketAddr) -> F,
) -> Result<T, ConnectError>
where
    F: Future<Output = io::Result<T>>,
{
    let shares = u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
    // If the limit is short, the delay is shorter than usual, so that the last address is also
    // tried within the limit. But the delay is never below its minimum.
    let delay = ATTEMPT_DELAY.min(limit / shares).max(MIN_ATTEMPT_DELAY);
    let mut outcomes: Vec<Option<io::Error>> = Vec::with_capacity(addresses.len());
    let mut running = FuturesUnordered::new();
    let (end, turn) = (sleep(limit), sleep(Duration::ZERO));
    pin!(end, turn);
    loop {
        let waiting = outcomes.len() < addresses.len();
        if running.is_empty() && !waiting {
            break;
        }
        select! {
            biased;
            Some((i, outcome)) = running.next() => match outcome {
                Ok(stream) => return Ok(stream),
                Err(error) => {
                    outcomes[i] = Some(error);
                    turn.as_mut().reset(Instant::now());
                }
            },
            () = &mut end => break,
            () = &mut turn, if waiting => {
                let (i, address) = (outcomes.len(), addresses[outcomes.len()]);
                outcomes.push(None);
                let attempt = connect(address);
                running.push(async move { (i, attempt.await) });
                turn.as_mut().reset(Instant::now() + delay);
            }
        }
    }
    Err(failure(addresses, outcomes))
}

/// Makes the error that is returned if no attempt has succeeded. An attempt that has no outcome at
/// this point has timed out.
fn failure(addresses: &[SocketAddr], outcomes: Vec<Option<io::Error>>) -> ConnectError {
    if addresses.is_empty() {
        return ConnectError::Resolve(Arc::new(io::Error::other("name has no address")));
    }
    let Some(last) = outcomes.iter().flatten().last() else { return ConnectError::ConnectTimeout };
    let kind = last.kind();
    let late = || io::Error::from(io::ErrorKind::TimedOut);
    let attempts = addresses
        .iter()
        .copied()
        .zip(outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(late)));
    ConnectError::Connect(Arc::new(io::Error::new(kind, ConnectAttempts(attempts.collect()))))
}

/// The addresses that were tried, in order, with the error of each. The `io::Error` of a
/// [`ConnectError::Connect`] contains this error. At most 32 addresses are tried. The error's text
/// shows the first 8 addresses, and the number of the addresses that it leaves out.
#[derive(Debug)]
pub struct ConnectAttempts(Vec<(SocketAddr, io::Error)>);

impl ConnectAttempts {
    /// Returns each address with the error of the attempt to connect to it. An attempt that had no
    /// answer when the connect timeout expired has [`io::ErrorKind::TimedOut`].
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (SocketAddr, &io::Error)> {
        self.0.iter().map(|(address, error)| (*address, error))
    }
}

impl fmt::Display for ConnectAttempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (address, error)) in self.iter().take(MAX_SHOWN).enumerate() {
            let separator = if i > 0 { "; " } else { "" };
            write!(f, "{separator}{address}: {error}")?;
        }
        match self.0.len().saturating_sub(MAX_SHOWN) {
            0 => Ok(()),
            others => write!(f, "; and {others} more"),
        }
    }
}

impl std::error::Error for ConnectAttempts {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.last().map(|(_, error)| error as _)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::{Cell, RefCell},
        collections::HashMap,
        future::pending,
    };

    use super::*;

    /// How a host responds when it is dialled. The number is the delay in milliseconds.
    #[derive(Debug, Clone, Copy)]
    enum Host {
        Answers(u64),
        Refuses(u64),
        Swallows,
    }
    use Host::{Answers, Refuses, Swallows};

    struct Attempt<'a>(&'a Cell<usize>);

    impl Drop for Attempt<'_> {
        fn drop(&mut self) {
            self.0.set(self.0.get() - 1);
        }
    }

    struct Story {
        outcome: Result<SocketAddr, ConnectError>,
        /// When each address was tried, in milliseconds.
        tried: Vec<(SocketAddr, u64)>,
        /// When dialling ended, in milliseconds.
        end: u64,
    }

    async fn story(limit: u64, hosts: &[(&str, Host)]) -> Story {
        let start = Instant::now();
        let passed = || u64::try_from(start.elapsed().as_millis()).unwrap();
        let hosts: Vec<(SocketAddr, Host)> =
            hosts.iter().map(|(address, host)| (address.parse().unwrap(), *host)).collect();
        let behaviour: HashMap<_, _> = hosts.iter().copied().collect();
        let (open, tried) = (Cell::new(0), RefCell::new(Vec::new()));
        let connect = |address: SocketAddr| {
            tried.borrow_mut().push((address, passed()));
            open.set(open.get() + 1);
            let (attempt, behaviour) = (Attempt(&open), behaviour[&address]);
            async move {
                let _attempt = attempt;
                match behaviour {
                    Answers(after) => sleep(Duration::from_millis(after)).await,
                    Refuses(after) => {
                        sleep(Duration::from_millis(after)).await;
                        return Err(io::ErrorKind::ConnectionRefused.into());
                    }
                    Swallows => pending().await,
                }
                Ok(address)
            }
        };
        let addresses = interleave(hosts.into_iter().map(|(address, _)| address).collect());
        let outcome = race(&addresses, Duration::from_millis(limit), connect).await;
        assert_eq!(open.get(), 0, "an attempt goes on");
        Story { outcome, tried: tried.into_inner(), end: passed() }
    }

    const LIMIT: u64 = 10_000;

    #[tokio::test(start_paused = true)]
    async fn a_family_that_swallows_everything_costs_one_delay() {
        let hosts = [("[::1]:1", Swallows), ("[::2]:1", Swallows), ("1.1.1.1:1", Answers(20))];
        let story = story(LIMIT, &hosts).await;
        let [six, four] = ["[::1]:1", "1.1.1.1:1"].map(|address| address.parse().unwrap());
        assert_eq!(story.outcome.unwrap(), four);
        // The second address of the first family is never tried.
        assert_eq!((story.tried, story.end), (vec![(six, 0), (four, 250)], 270));
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_answers_in_time_is_the_only_one_tried() {
        let story = story(LIMIT, &[("[::1]:1", Answers(249)), ("1.1.1.1:1", Answers(0))]).await;
        assert_eq!((story.tried.len(), story.end), (1, 249));
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_to_answer_wins_though_it_was_asked_later() {
        let hosts = [("[::1]:1", Answers(1000)), ("1.1.1.1:1", Answers(100))];
        let story = story(LIMIT, &hosts).await;
        assert_eq!((story.outcome.unwrap().is_ipv4(), story.end), (true, 350));
        let hosts = [("[::1]:1", Answers(300)), ("1.1.1.1:1", Answers(100))];
        let story = self::story(LIMIT, &hosts).await;
        assert_eq!((story.outcome.unwrap().is_ipv6(), story.end), (true, 300));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_gives_the_next_its_turn_at_once() {
        let hosts = [("[::1]:1", Refuses(5)), ("1.1.1.1:1", Refuses(5)), ("[::2]:1", Answers(5))];
        let story = story(LIMIT, &hosts).await;
        let times: Vec<_> = story.tried.iter().map(|(_, at)| *at).collect();
        assert_eq!((times, story.end), (vec![0, 5, 10], 15));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_tells_what_each_address_said() {
        let hosts = [("[::1]:1", Swallows), ("1.1.1.1:1", Refuses(5)), ("1.1.1.2:1", Refuses(5))];
        let story = story(1000, &hosts).await;
        let ConnectError::Connect(error) = story.outcome.unwrap_err() else { panic!() };
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        let attempts = error.get_ref().unwrap().downcast_ref::<ConnectAttempts>().unwrap();
        let said: Vec<_> =
            attempts.iter().map(|(at, error)| (at.to_string(), error.kind())).collect();
        let refused = io::ErrorKind::ConnectionRefused;
        let expected = [("[::1]:1", io::ErrorKind::TimedOut), ("1.1.1.1:1", refused)];
        let expected = expected.into_iter().chain([("1.1.1.2:1", refused)]);
        assert!(said.iter().map(|(at, kind)| (&**at, *kind)).eq(expected), "{said:?}");
        assert!(error.to_string().contains("1.1.1.2:1: connection refused"), "{error}");
        assert_eq!(story.end, 1000);
    }

    #[tokio::test(start_paused = true)]
    async fn every_address_has_its_turn_within_the_limit() {
        let names: Vec<_> = (1..=8).map(|i| format!("1.1.1.{i}:1")).collect();
        let mut hosts: Vec<_> = names.iter().map(|name| (name.as_str(), Swallows)).collect();
        let story = story(400, &hosts).await;
        assert!(matches!(story.outcome, Err(ConnectError::ConnectTimeout)), "{:?}", story.outcome);
        assert_eq!((story.tried.len(), story.end), (8, 400));
        hosts[7].1 = Answers(10);
        let story = self::story(400, &hosts).await;
        assert_eq!((story.outcome.unwrap().to_string(), story.end), (names[7].clone(), 360));
    }

    /// Without a limit, 2,000 sockets would be open at once. Many systems do not allow a process
    /// 2,000 sockets.
    #[tokio::test(start_paused = true)]
    async fn of_a_thousand_addresses_the_first_32_are_tried() {
        let names: Vec<_> = (0..1_000_u16)
            .flat_map(|i| {
                [format!("[2001:db8::{i:x}]:1"), format!("10.0.{}.{}:1", i / 256, i % 256)]
            })
            .collect();
        for behaviour in [Swallows, Refuses(5)] {
            let hosts: Vec<_> = names.iter().map(|name| (name.as_str(), behaviour)).collect();
            let story = story(LIMIT, &hosts).await;
            assert_eq!(story.tried.len(), MAX_ADDRESSES);
            let ipv4 = story.tried.iter().filter(|(address, _)| address.is_ipv4()).count();
            assert_eq!(ipv4, MAX_ADDRESSES / 2);
            let Swallows = behaviour else {
                let error = story.outcome.unwrap_err().to_string();
                assert!(error.ends_with("; and 24 more") && error.len() < 512, "{error}");
                continue;
            };
            assert!(matches!(story.outcome, Err(ConnectError::ConnectTimeout)));
            // The attempts start as far apart as RFC 8305 recommends, and the last host still has
            // time to answer.
            let (_, last) = story.tried[MAX_ADDRESSES - 1];
            assert_eq!((last, story.end), (31 * 250, LIMIT));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_without_an_address_is_not_resolved() {
        let story = story(LIMIT, &[]).await;
        assert!(matches!(story.outcome, Err(ConnectError::Resolve(_))), "{:?}", story.outcome);
    }

    #[test]
    fn the_families_take_turns() {
        let parse = |list: &str| -> Vec<SocketAddr> {
            list.split(' ').map(|address| format!("{address}:1").parse().unwrap()).collect()
        };
        for (given, expected) in [
            ("[::1] [::2] [::3] 1.1.1.1", "[::1] 1.1.1.1 [::2] [::3]"),
            ("1.1.1.1 1.1.1.2 [::1]", "1.1.1.1 [::1] 1.1.1.2"),
            ("1.1.1.1 [::1] [::2]", "1.1.1.1 [::1] [::2]"),
            ("1.1.1.1 1.1.1.2", "1.1.1.1 1.1.1.2"),
        ] {
            assert_eq!(interleave(parse(given)), parse(expected));
        }
    }
}
