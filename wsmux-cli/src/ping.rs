//! `wsmux ping`: the time to connect, and round trips.

use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;
use wsmux::{Config, ConnectionError, WebSocketClient, WebSocketConnection};

use crate::{
    Failure,
    endpoint::{TokenArg, Trust, explain, peer},
    wire::WireArg,
};

/// How often to check for an answer. The connection measures the round-trip time itself, so this
/// interval does not add to the result.
const LOOK: Duration = Duration::from_millis(5);

/// The command waits at least this long for a server that does not answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Opens a connection and measures round trips
///
/// The command works with any server that accepts the WebSocket. The command measures the
/// connection's own pings (frames of QMux, or pings of the WebSocket on the js-ws wire), which
/// every implementation answers by itself. No stream is opened, so the server's application notices
/// nothing. If a third of the server's idle timeout is shorter than --interval, pings are sent at
/// that shorter interval.
///
/// The exit code is 1 if the server cannot be reached, or is lost before the last answer.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// ws:// or wss:// address of the server
    url: String,
    /// Stops after this many answers
    #[arg(short, long, value_name = "COUNT", default_value_t = 5,
          value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
    /// Seconds from an answer to the next ping, 0.1 to 10
    #[arg(short, long, value_name = "SECONDS", default_value = "1", value_parser = parse_interval)]
    interval: Duration,
    /// Wire protocol to use over the WebSocket
    #[arg(long, value_enum, default_value_t = WireArg::Qmux)]
    wire: WireArg,
    /// Offer this application protocol, for servers that accept no other clients; may be repeated
    #[arg(long = "protocol", value_name = "NAME")]
    protocols: Vec<String>,
    #[command(flatten)]
    trust: Trust,
    #[command(flatten)]
    token: TokenArg,
}

/// Parses the interval. The lower bound is the shortest interval at which the connection sends
/// pings. The upper bound is a third of the usual idle timeout.
fn parse_interval(seconds: &str) -> Result<Duration, String> {
    let seconds: f64 = seconds.parse().map_err(|_| "not a number")?;
    match (0.1..=10.0).contains(&seconds) {
        true => Ok(Duration::from_secs_f64(seconds)),
        false => Err("not between 0.1 and 10".into()),
    }
}

pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let mut config = Config::default();
    config
        .keep_alive_interval(Some(args.interval))
        .max_idle_timeout(Some((3 * args.interval).max(PATIENCE)));
    let mut client = WebSocketClient::builder().wire(args.wire.into()).config(config);
    for name in args.protocols {
        client = client.protocol(name);
    }
    let client = args.token.apply(args.trust.apply(client)?)?.build()?;

    let start = Instant::now();
    let connection = client.connect(&args.url).await.map_err(|error| explain(&error))?;
    let connected = milliseconds(start.elapsed());
    let peer = peer(&connection);
    let spoken = connection.subprotocol().unwrap_or("js-ws").to_owned();
    println!("PING {peer}: connected in {connected} ms, speaking {spoken}");

    let mut times = Vec::new();
    let end = measure(&connection, args.count, |time| {
        times.push(time);
        println!("pong from {peer}: seq={} time={} ms", times.len(), milliseconds(time));
    })
    .await;
    println!("--- {peer} ping statistics ---");
    println!("connected in {connected} ms, {} of {} answers", times.len(), args.count);
    if let (Some(min), Some(max)) = (times.iter().min(), times.iter().max()) {
        let mean = times.iter().sum::<Duration>().div_f64(times.len() as f64);
        let [min, mean, max] = [*min, mean, *max].map(milliseconds);
        println!("rtt min/avg/max = {min}/{mean}/{max} ms");
    }
    end?;
    connection.close(0u8.into(), b"done");
    connection.closed().await;
    Ok(())
}

/// Waits for `count` answers.
async fn measure(
    connection: &WebSocketConnection,
    count: u64,
    mut answered: impl FnMut(Duration),
) -> Result<(), ConnectionError> {
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut smoothed = None;
    for _ in 0..count {
        let rtt = loop {
            look.tick().await;
            if let Some(error) = connection.close_reason() {
                return Err(error);
            }
            if let Some(rtt) = connection.rtt().filter(|rtt| Some(*rtt) != smoothed) {
                break rtt;
            }
        };
        answered(newest(smoothed, rtt));
        smoothed = Some(rtt);
    }
    Ok(())
}

/// Computes the newest sample from the smoothed times before and after this sample. The connection
/// reports only the smoothed time, in which a sample weighs an eighth (RFC 9002 §5.3). The division
/// loses at most 7 ns.
fn newest(before: Option<Duration>, after: Duration) -> Duration {
    before.map_or(after, |before| (8 * after).saturating_sub(7 * before))
}

fn milliseconds(time: Duration) -> String {
    format!("{:.3}", time.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use wsmux::Wire;
    use wsmux_testing::engine::Pair;

    use super::*;

    /// This test uses the engine's own smoothing, so that it fails if the weight changes there.
    #[test]
    fn the_newest_sample_is_found_in_the_smoothed_time() {
        let mut config = Config::default();
        config.keep_alive_interval(Some(Duration::from_secs(1)));
        for wire in [Wire::QMux, Wire::JsWs] {
            let mut pair = Pair::new(wire, &config);
            let mut smoothed = pair.client.conn.rtt();
            for latency in [5, 20, 1, 300].map(Duration::from_millis) {
                pair.latency = latency;
                while pair.client.conn.rtt() == smoothed {
                    pair.pass(LOOK);
                }
                let rtt = pair.client.conn.rtt().expect("a ping was answered");
                let error = newest(smoothed, rtt).abs_diff(2 * latency);
                assert!(error < Duration::from_nanos(8), "{wire:?} {latency:?}: {error:?}");
                smoothed = Some(rtt);
            }
        }
    }

    #[test]
    fn intervals_are_what_the_connection_can_keep() {
        assert_eq!(parse_interval("0.25"), Ok(Duration::from_millis(250)));
        for bad in ["0", "0.09", "11", "-1", "NaN", "inf", "soon", ""] {
            assert!(parse_interval(bad).is_err(), "{bad:?}");
        }
    }
}
