//! Attackers that have a connection. Each attacker sends what it is allowed to send, as fast as the
//! victim reads. It connects again when the victim closes the connection.

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use anyhow::Result;
use tokio::time::{Instant, sleep, timeout_at};
use wsmux::Wire;

use super::{
    Attack, jsws,
    raw::{QX_PING, Raw, WINDOW, varints},
    told::Told,
};

/// The length of each message, which is below the `max_record_size` of every peer.
const MESSAGE: usize = 16 * 1024;
/// The pause between two attempts to connect while the victim refuses connections.
const PATIENCE: Duration = Duration::from_millis(10);

pub async fn flood(attack: Attack, address: SocketAddr, until: Instant) -> Result<Told> {
    let mut told = Told::default();
    let reads = !matches!(attack, Attack::WsPing | Attack::QxPing | Attack::NeverReads);
    let credit = match attack {
        Attack::OneByteGrants | Attack::BytesAndChunks => 0,
        _ => WINDOW,
    };
    let wire = attack.wire();
    while Instant::now() < until {
        let mut raw = match timeout_at(until, Raw::connect(address, wire, reads, credit)).await {
            Ok(Ok(raw)) => raw,
            Ok(Err(error)) => {
                told.end(format!("refused: {error:#}"));
                sleep(PATIENCE).await;
                continue;
            }
            Err(_) => break,
        };
        told.connections += 1;
        // Either the victim or the time limit ends the attack. The victim's last message shows
        // which of them did.
        let _ = timeout_at(until, at_full_speed(attack, &mut raw)).await;
        told.messages += raw.messages;
        told.bytes += raw.bytes;
        told.end(raw.last_words().await);
    }
    Ok(told)
}

async fn at_full_speed(attack: Attack, raw: &mut Raw) -> Result<Infallible> {
    if attack.wire() == Wire::JsWs {
        return jsws::at_full_speed(attack, raw).await;
    }
    match attack {
        Attack::OpenReset => streams(raw, reset).await,
        Attack::StopSending => streams(raw, stop).await,
        Attack::StopRepeated => {
            raw.send(stream_frame(0, 0, b"x", false)).await?;
            same(raw, |out| varints(out, &[0x05, 0, 0])).await
        }
        Attack::WsPing => loop {
            raw.ping([7; 125].to_vec().into()).await?;
        },
        Attack::QxPing => {
            let mut number = 0;
            loop {
                let mut message = Vec::with_capacity(MESSAGE);
                while message.len() < MESSAGE - 16 {
                    number += 1;
                    varints(&mut message, &[QX_PING, number]);
                }
                raw.send(message).await?;
            }
        }
        Attack::OneByteGrants => one_byte_grants(raw).await,
        Attack::EmptyFrames => same(raw, |out| varints(out, &[0x0e, 0, 0, 0])).await,
        Attack::TinyMessages => tiny_messages(raw).await,
        Attack::Padding => same(raw, |out| out.push(0)).await,
        Attack::Blocked => {
            raw.send(stream_frame(0, 0, b"x", false)).await?;
            // BLOCKED frames for the connection, for a stream, and for both kinds of streams.
            same(raw, |out| varints(out, &[0x14, 1, 0x15, 0, 1, 0x16, 1, 0x17, 1])).await
        }
        Attack::Datagrams => same(raw, |out| varints(out, &[0x31, 1, 7])).await,
        Attack::NeverReads => never_reads(raw).await,
        Attack::BytesAndChunks => bytes_and_chunks(raw).await,
        _ => unreachable!("it has no connection"),
    }
}

fn stream_frame(id: u64, offset: u64, data: &[u8], fin: bool) -> Vec<u8> {
    let mut frame = Vec::with_capacity(data.len() + 16);
    varints(&mut frame, &[0x0e | u64::from(fin), id, offset, data.len() as u64]);
    frame.extend_from_slice(data);
    frame
}

/// Appends a STREAM frame of one byte, and a RESET_STREAM for the same stream.
fn reset(out: &mut Vec<u8>, id: u64) {
    varints(out, &[0x0e, id, 0, 1, 7, 0x04, id, 0, 1]);
}

/// Appends a STREAM frame with a whole request, and a STOP_SENDING for the answer.
fn stop(out: &mut Vec<u8>, id: u64) {
    out.extend(stream_frame(id, 0, &[7; 64], true));
    varints(out, &[0x05, id, 0]);
}

/// Sends the same message again and again. `frames` is called until the message is full.
async fn same(raw: &mut Raw, frames: impl Fn(&mut Vec<u8>)) -> Result<Infallible> {
    let mut message = Vec::with_capacity(MESSAGE);
    while message.len() < MESSAGE - 64 {
        frames(&mut message);
    }
    let message = bytes::Bytes::from(message);
    loop {
        raw.send(message.clone()).await?;
    }
}

/// Opens as many streams as the victim permits. `frames` appends the frames for each stream.
async fn streams(raw: &mut Raw, frames: impl Fn(&mut Vec<u8>, u64)) -> Result<Infallible> {
    let mut next = 0;
    loop {
        raw.until(|granted| granted.streams > next).await?;
        let mut message = Vec::with_capacity(MESSAGE);
        while next < raw.granted().streams && message.len() < MESSAGE - 256 {
            frames(&mut message, next * 4);
            next += 1;
        }
        raw.send(message).await?;
    }
}

/// Grants one byte of credit at a time. The victim always has bytes to echo.
async fn one_byte_grants(raw: &mut Raw) -> Result<Infallible> {
    const STEP: u64 = MESSAGE as u64;
    let data = [7; MESSAGE];
    raw.send(stream_frame(0, 0, &data[..1024], false)).await?;
    let mut sent = 1024;
    for granted in 1.. {
        if sent < granted + STEP {
            raw.until(|victims| victims.first >= sent + STEP).await?;
            raw.send(stream_frame(0, sent, &data, false)).await?;
            sent += STEP;
        }
        let mut message = Vec::with_capacity(16);
        varints(&mut message, &[0x11, 0, granted]);
        raw.send(message).await?;
    }
    unreachable!("64 bits of grants")
}

async fn tiny_messages(raw: &mut Raw) -> Result<Infallible> {
    let mut offset = 0;
    loop {
        raw.until(|granted| granted.first > offset).await?;
        raw.send(stream_frame(0, offset, b"x", false)).await?;
        offset += 1;
    }
}

/// Sends everything that the victim grants at first, on each stream of either kind. After that it
/// sends nothing, and never reads.
async fn never_reads(raw: &mut Raw) -> Result<Infallible> {
    let data = [7; MESSAGE];
    for offset in (0..WINDOW).step_by(MESSAGE) {
        for kind in [0, 2] {
            for nth in 0..100 {
                raw.send(stream_frame(nth * 4 + kind, offset, &data, false)).await?;
            }
        }
    }
    raw.flush().await?;
    std::future::pending().await
}

/// Sends everything that the victim grants at first, on each stream of either kind. The data begins
/// with two large messages. After these, single bytes and chunks of 4 KiB alternate. With these
/// sizes, an earlier version of wsmux used the most memory. It allocated a large block for each
/// single byte, and the next chunk did not fill that block.
async fn bytes_and_chunks(raw: &mut Raw) -> Result<Infallible> {
    const CHUNK: usize = 4 * 1024;
    let data = [7; MESSAGE];
    let mut offset = 0;
    for len in std::iter::repeat_n(MESSAGE, 2).chain([1, CHUNK].into_iter().cycle()) {
        if offset + len as u64 > WINDOW {
            break;
        }
        for kind in [0, 2] {
            for nth in 0..100 {
                raw.send(stream_frame(nth * 4 + kind, offset, &data[..len], false)).await?;
            }
        }
        offset += len as u64;
    }
    raw.flush().await?;
    std::future::pending().await
}
