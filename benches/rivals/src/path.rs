//! The path between client and server.

use std::{net::Ipv4Addr, sync::OnceLock, time::Duration};

use clap::ValueEnum;
use serde::Serialize;

/// A long path between the ends. Without a long path, a run uses loopback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
pub enum Path {
    /// 100 Mbit/s, 20 ms there and back
    #[value(name = "100mbit-20ms")]
    #[serde(rename = "100mbit-20ms")]
    Near,
    /// 1 Gbit/s, 80 ms there and back, 0.1 % of packets lost
    #[value(name = "1gbit-80ms")]
    #[serde(rename = "1gbit-80ms")]
    Far,
    /// 1 Gbit/s, 200 ms there and back, 0.1 % of packets lost
    #[value(name = "1gbit-200ms")]
    #[serde(rename = "1gbit-200ms")]
    VeryFar,
}

#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub bits_per_s: u32,
    pub rtt: Duration,
    /// A packet is dropped if it would have to wait for longer than this before it is sent.
    pub queue: Duration,
    pub lost_per_mille: u32,
}

impl Path {
    pub fn shape(self) -> Shape {
        let (mbit_per_s, rtt, lost_per_mille) = match self {
            Self::Near => (100, 20, 0),
            Self::Far => (1_000, 80, 1),
            Self::VeryFar => (1_000, 200, 1),
        };
        let rtt = Duration::from_millis(rtt);
        // The queue holds as much data as the path carries in one round trip, which is the old rule
        // for the buffers of routers.
        Shape { bits_per_s: mbit_per_s * 1_000_000, rtt, queue: rtt, lost_per_mille }
    }
}

/// The addresses of the two ends of a long path.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 2);

static HOST: OnceLock<Ipv4Addr> = OnceLock::new();

/// Makes servers listen on [`SERVER`] from now on.
pub fn use_long_path() {
    HOST.get_or_init(|| SERVER);
}

/// Returns the address on which servers listen.
pub fn server() -> Ipv4Addr {
    *HOST.get_or_init(|| Ipv4Addr::LOCALHOST)
}
