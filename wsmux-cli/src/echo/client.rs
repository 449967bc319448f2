//! The echo client. To learn the API, read `examples/echo_client.rs` in the repository.

use std::time::Instant;

use bytes::Bytes;
use tokio::task::JoinSet;
use wsmux::{RecvStream, SendStream, WebSocketClient, WebSocketConnection};

use crate::{
    Failure,
    endpoint::{TokenArg, Trust, explain},
    wire::WireArg,
};

/// Bytes per write.
const CHUNK: u64 = 64 * 1024;

/// Sends bytes to an echo server, on many streams at once, and checks every byte that comes back
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// ws:// or wss:// address of the server
    url: String,
    /// Wire protocol to use over the WebSocket
    #[arg(long, value_enum, default_value_t = WireArg::Qmux)]
    wire: WireArg,
    #[command(flatten)]
    trust: Trust,
    #[command(flatten)]
    token: TokenArg,
    /// Concurrent streams
    #[arg(long, value_name = "COUNT", default_value_t = 10)]
    streams: u64,
    /// Bytes per stream
    #[arg(long, value_name = "BYTES", default_value_t = 1024 * 1024)]
    bytes: u64,
}

pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let client = WebSocketClient::builder().wire(args.wire.into());
    let client = args.token.apply(args.trust.apply(client)?)?.build()?;
    let connection = client.connect(&args.url).await.map_err(|error| explain(&error))?;
    let start = Instant::now();
    let mut streams = JoinSet::new();
    for seed in 0..args.streams {
        streams.spawn(echo(connection.clone(), seed, args.bytes));
    }
    while let Some(done) = streams.join_next().await {
        done??;
    }
    let seconds = start.elapsed().as_secs_f64();
    connection.close(0u8.into(), b"done");
    connection.closed().await;
    let (streams, total) = (args.streams, args.streams.saturating_mul(args.bytes));
    let rate = 2.0 * total as f64 / 1024.0 / 1024.0 / seconds;
    println!(
        "{streams} streams, {total} bytes there and back, all as sent; {rate:.1} MiB/s both ways"
    );
    Ok(())
}

async fn echo(connection: WebSocketConnection, seed: u64, bytes: u64) -> Result<(), Failure> {
    let (send, recv) = connection.open_bi().await?.into_split();
    let check = async {
        let checked = check(recv, seed, bytes).await;
        checked.map_err(|error| format!("stream {seed}: {error}").into())
    };
    tokio::try_join!(send_all(send, seed, bytes), check).map(drop)
}

async fn send_all(mut send: SendStream, seed: u64, bytes: u64) -> Result<(), Failure> {
    let mut offset = 0;
    while offset < bytes {
        let chunk: Bytes =
            pattern(seed, offset).take((bytes - offset).min(CHUNK) as usize).collect();
        offset += chunk.len() as u64;
        send.write_chunk(chunk).await?;
    }
    Ok(send.finish()?)
}

async fn check(mut recv: RecvStream, seed: u64, bytes: u64) -> Result<(), Failure> {
    let mut offset = 0;
    while let Some(chunk) = recv.read_chunk(usize::MAX).await? {
        let expected = pattern(seed, offset);
        if let Some(at) = chunk.iter().zip(expected).position(|(&came, sent)| came != sent) {
            return Err(format!("byte {} is not what was sent", offset + at as u64).into());
        }
        offset += chunk.len() as u64;
    }
    match offset == bytes {
        true => Ok(()),
        false => Err(format!("{offset} of {bytes} bytes came back").into()),
    }
}

/// Returns the bytes of the stream with this seed, from this offset on.
fn pattern(seed: u64, offset: u64) -> impl Iterator<Item = u8> {
    (offset..).map(move |at| (at.wrapping_mul(31) ^ (at >> 8) ^ seed.wrapping_mul(101)) as u8)
}
