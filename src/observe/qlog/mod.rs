//! A log of the messages on the wire in QUIC's qlog format (draft-ietf-quic-qlog-main-schema), for
//! tools such as qvis.

mod config;
mod output;
mod recorder;
mod schema;
mod writer;

use std::time::{Duration, SystemTime};

use wsmux_proto::Side;

pub use self::config::{QlogConfig, QlogConnection};
pub(crate) use self::recorder::Log;

const fn side_name(side: Side) -> &'static str {
    match side {
        Side::Client => "client",
        Side::Server => "server",
    }
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// Converts to milliseconds, exact to the microsecond.
fn milliseconds(time: Duration) -> f64 {
    time.as_micros() as f64 / 1_000.0
}
