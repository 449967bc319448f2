//! Many small writes to one stream.

use anyhow::Result;

use super::{bulk::expect_count, open};
use crate::{
    backends::{Connection, Stream},
    meter::Meter,
    outcome::Metrics,
    peer::{CHUNK, COUNT},
};

const LEN: usize = 32;

pub async fn run<C: Connection>(connection: &C, meter: &Meter, writes: u64) -> Result<Metrics> {
    let mut stream = open(connection, COUNT).await?;
    let watch = meter.start().await?;
    for _ in 0..writes {
        stream.write(&CHUNK[..LEN]).await?;
    }
    let bytes = writes * LEN as u64;
    expect_count(&mut stream, bytes).await?;
    Ok(watch.stop().await?.of_bytes(bytes))
}
