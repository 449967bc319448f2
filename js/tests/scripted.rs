//! A server that lets a page decide what each of its messages contains. No other server reliably
//! sends a stream's last bytes and the connection's end in one message.

use std::collections::HashMap;

use anyhow::{Context, bail};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    accept_hdr_async,
    tungstenite::{
        Message,
        handshake::server::{Request, Response},
    },
};
use wsmux::{
    Config, Dir, Side, StreamId, VarInt, Wire,
    proto::{self, Frame, MessageBuf, Time},
};

use crate::peer::pattern;

const WIRE: Wire = Wire::QMux;

/// Runs the server. The first line of each stream describes the server's next message.
pub(crate) async fn serve(tcp: TcpStream) -> anyhow::Result<()> {
    tcp.set_nodelay(true)?;
    let mut websocket = accept_hdr_async(tcp, select).await?;
    websocket.send(Message::Binary(hello()?)).await?;
    let mut lines: HashMap<StreamId, Vec<u8>> = HashMap::new();
    while let Some(message) = websocket.next().await {
        // Reading messages also answers a Close.
        let Message::Binary(mut message) = message? else { continue };
        while let Some(frame) = WIRE.decode(&mut message)? {
            let Frame::Stream { id, data, .. } = frame else { continue };
            let line = lines.entry(id).or_default();
            line.extend_from_slice(&data);
            if line.pop_if(|last| *last == b'\n').is_some() {
                let message = obey(std::str::from_utf8(line)?)?;
                if !message.is_empty() {
                    websocket.send(Message::Binary(message)).await?;
                }
            }
        }
    }
    Ok(())
}

/// Selects the first subprotocol.
#[expect(clippy::result_large_err, reason = "tungstenite's callback")]
fn select(
    request: &Request,
    mut response: Response,
) -> Result<Response, tokio_tungstenite::tungstenite::handshake::server::ErrorResponse> {
    let name = "sec-websocket-protocol";
    let offered = request.headers().get(name).and_then(|names| names.to_str().ok());
    let first = offered.and_then(|names| names.split(',').next()).unwrap_or_default();
    response.headers_mut().insert(name, first.trim().parse().expect("it was in a header"));
    Ok(response)
}

/// Returns the transport parameters of a server with default settings.
fn hello() -> anyhow::Result<Bytes> {
    let config = Config::default().window_growth_budget(0).clone();
    let mut engine = proto::Connection::new(config, Side::Server, WIRE, Time::EPOCH);
    let mut message = MessageBuf::new();
    engine.poll_transmit(Time::EPOCH, &mut message).context("transport parameters")?;
    Ok(message.to_bytes())
}

fn data(len: u64) -> Vec<u8> {
    (0..len).map(|at| pattern(0, at)).collect()
}

/// Returns the frames that the words describe, in order. The word `on` names a stream of the page,
/// and the words `bi` and `uni` name a stream of the server. The frames that follow belong to the
/// stream that was named last.
fn obey(line: &str) -> anyhow::Result<Bytes> {
    let mut out = Vec::new();
    let (mut stream, mut offset) = (StreamId::new(Side::Client, Dir::Bi, 0), 0);
    let mut words = line.split(' ');
    let number = |word: Option<&str>| anyhow::Ok(word.context("a number")?.parse::<u64>()?);
    while let Some(word) = words.next() {
        let id = stream.into_inner();
        match word {
            "idle" => {}
            "on" | "bi" | "uni" => {
                let side = if word == "on" { Side::Client } else { Side::Server };
                let dir = if word == "uni" { Dir::Uni } else { Dir::Bi };
                (stream, offset) = (StreamId::new(side, dir, number(words.next())?), 0);
            }
            "data" => {
                let data = data(number(words.next())?);
                frame(&mut out, 0x0e, &[id, offset, data.len() as u64], &data);
                offset += data.len() as u64;
            }
            "fin" => frame(&mut out, 0x0f, &[id, offset, 0], b""),
            "reset-at" => frame(&mut out, 0x24, &[id, 7, offset, number(words.next())?], b""),
            "datagram" => {
                let data = data(number(words.next())?);
                frame(&mut out, 0x31, &[data.len() as u64], &data);
            }
            "close" => frame(&mut out, 0x1d, &[9, 8], b"farewell"),
            // CONNECTION_CLOSE with INTERNAL_ERROR, frame type 0 and no reason.
            "fail" => frame(&mut out, 0x1c, &[1, 0, 0], b""),
            _ => bail!("no order {word:?}"),
        }
    }
    Ok(out.into())
}

/// Encodes a frame from its type, its numbers, and the bytes after the numbers (SPEC.md §6.1).
fn frame(out: &mut Vec<u8>, kind: u32, numbers: &[u64], rest: &[u8]) {
    VarInt::from_u32(kind).encode(out);
    for &number in numbers {
        VarInt::from_u64(number).expect("it is small").encode(out);
    }
    out.extend_from_slice(rest);
}
