//! Sends bytes to an echo server on many streams at once, and checks every byte that comes back.

use std::{error::Error, process::ExitCode, time::Instant};

use clap::{Parser, ValueEnum};
use tokio::task::JoinSet;
use wsmux::{RecvStream, SendStream, WebSocketClient, WebSocketConnection, Wire};

#[derive(Debug, Parser)]
struct Args {
    /// ws:// or wss:// address of the server
    url: String,
    /// Wire protocol to use over the WebSocket
    #[arg(long, value_enum, default_value_t = WireArg::Qmux)]
    wire: WireArg,
    /// Accept any certificate (for tests only)
    #[arg(long)]
    insecure: bool,
    /// Concurrent streams
    #[arg(long, default_value_t = 10)]
    streams: u64,
    /// Bytes per stream
    #[arg(long, default_value_t = 1024 * 1024)]
    bytes: u64,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum WireArg {
    Qmux,
    Jsws,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args).await {
        Ok(summary) => {
            println!("{summary}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> Result<String, Box<dyn Error + Send + Sync>> {
    let mut client = WebSocketClient::builder().wire(match args.wire {
        WireArg::Qmux => Wire::QMux,
        WireArg::Jsws => Wire::JsWs,
    });
    if args.insecure {
        client = client.danger_accept_any_certificate();
    }
    let connection = client.build()?.connect(&args.url).await?;
    let start = Instant::now();
    let mut streams = JoinSet::new();
    for seed in 0..args.streams {
        let (connection, bytes) = (connection.clone(), args.bytes);
        streams.spawn(async move { echo(&connection, seed, bytes).await });
    }
    while let Some(done) = streams.join_next().await {
        done??;
    }
    let seconds = start.elapsed().as_secs_f64();
    connection.close(0u8.into(), b"done");
    connection.closed().await;
    let (streams, total) = (args.streams, args.streams * args.bytes);
    let rate = 2.0 * total as f64 / 1024.0 / 1024.0 / seconds;
    Ok(format!(
        "{streams} streams, {total} bytes there and back, all as sent; {rate:.1} MiB/s both ways"
    ))
}

/// Returns the byte at this offset of the stream with this seed.
fn pattern(seed: u64, offset: u64) -> u8 {
    (offset.wrapping_mul(31) ^ (offset >> 8) ^ seed.wrapping_mul(101)) as u8
}

async fn echo(
    connection: &WebSocketConnection,
    seed: u64,
    bytes: u64,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let (send, recv) = connection.open_bi().await?.into_split();
    let sender = tokio::spawn(send_pattern(send, seed, bytes));
    check_pattern(recv, seed, bytes).await.map_err(|error| format!("stream {seed}: {error}"))?;
    Ok(sender.await??)
}

async fn send_pattern(
    mut send: SendStream,
    seed: u64,
    bytes: u64,
) -> Result<(), wsmux::WriteError> {
    let mut offset = 0;
    while offset < bytes {
        let end = bytes.min(offset + 64 * 1024);
        let chunk: Vec<u8> = (offset..end).map(|at| pattern(seed, at)).collect();
        send.write_chunk(chunk.into()).await?;
        offset = end;
    }
    send.finish()
}

async fn check_pattern(
    mut recv: RecvStream,
    seed: u64,
    bytes: u64,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut offset = 0;
    while let Some(chunk) = recv.read_chunk(usize::MAX).await? {
        for byte in chunk {
            if byte != pattern(seed, offset) {
                return Err(format!("byte {offset} is not what was sent").into());
            }
            offset += 1;
        }
    }
    if offset == bytes {
        Ok(())
    } else {
        Err(format!("{offset} of {bytes} bytes came back").into())
    }
}
