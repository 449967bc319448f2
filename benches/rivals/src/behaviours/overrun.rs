//! A client that sends more than its credit, written by hand for each protocol.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use anyhow::{Result, bail};
use bytes::Bytes;
use futures_util::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use tokio::{net::TcpStream, task::JoinHandle};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest, http::HeaderValue},
};
use wsmux::proto::VarInt;

use super::{NEVER, Seen};
use crate::{peer::STALL, watchdog};

/// The length of a piece. A piece and its header together fit into the smallest limit on messages.
const PIECE: usize = 16_000;
/// How many pieces are sent. All pieces together have 128 MiB, which exceeds the credit of every
/// mux that counts bytes. There are also more than 8,000 frames, which exceeds the credit of a mux
/// that counts frames.
const PIECES: usize = 8_389;

/// The smallest credit of a backend, 256 KiB, is enough for this many pieces.
const WITHIN_CREDIT: usize = 8;
/// The time in which the server can refuse these pieces.
const QUIET: Duration = Duration::from_millis(500);

const QX_TRANSPORT_PARAMETERS: u64 = 0x3f51_5330_0d0a_0d0a;

/// A protocol of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Raw {
    Qmux,
    JsWs,
    Yamux,
    Penguin,
}

/// Opens a stream that the server does not read, sends far more than the stream's credit, and
/// returns what the server does.
pub async fn run(raw: Raw, server: SocketAddr) -> Result<Seen> {
    let mut request = format!("ws://{server}/").into_client_request()?;
    if raw == Raw::Qmux {
        let name = HeaderValue::from_static("qmux-02");
        request.headers_mut().insert("sec-websocket-protocol", name);
    }
    let (websocket, _) = client_async(request, TcpStream::connect(server).await?).await?;
    let (mut sink, stream) = websocket.split();
    for message in raw.opening() {
        sink.send(message).await?;
    }
    let mut answers = tokio::spawn(answer(raw, stream));
    let mut offset = check(raw, &mut sink, &mut answers).await?;
    let sending = async {
        let piece = vec![0x5a; PIECE];
        for _ in 0..PIECES {
            let message = raw.piece(offset, &piece);
            offset += PIECE as u64;
            // An error means that the server has ended the connection. The task `answers` finds out
            // why.
            if sink.send(message).await.is_err() {
                break;
            }
            watchdog::progress();
        }
    };
    let sent = tokio::select! {
        () = sending => true,
        () = watchdog::quiet(NEVER) => false,
    };
    // This wait gives the server time to answer. If the connection has not ended after this time,
    // it will not end.
    let answer = tokio::select! {
        answer = &mut answers => answer?,
        () = watchdog::running(NEVER) => Answer::None,
    };
    Ok(match answer {
        Answer::Ended => Seen::ConnectionError,
        Answer::Reset => Seen::StreamReset,
        Answer::None if ERROR_SENT.load(Relaxed) => Seen::ErrorSentOnly,
        Answer::None if sent => Seen::Ignored,
        Answer::None => bail!("the server stopped reading its socket"),
    })
}

/// Sends a few pieces, which are within the credit of every backend. If the server answers with an
/// error, this client does not speak the server's protocol, and the rest of the test would show
/// nothing.
async fn check(
    raw: Raw,
    sink: &mut SplitSink<WebSocketStream<TcpStream>, Message>,
    answers: &mut JoinHandle<Answer>,
) -> Result<u64> {
    let mut offset = 1;
    for _ in 0..WITHIN_CREDIT {
        sink.send(raw.piece(offset, &[0x5a; PIECE])).await?;
        offset += PIECE as u64;
    }
    tokio::select! {
        _ = answers => bail!("the server refuses what its credit permits"),
        () = watchdog::running(QUIET) => Ok(offset),
    }
}

/// The server's reaction.
enum Answer {
    /// The server ended the connection.
    Ended,
    /// The server reset the stream.
    Reset,
    /// The server did neither.
    None,
}

/// Whether the server has sent an error for the connection. After this error, the server may or may
/// not end the connection.
static ERROR_SENT: AtomicBool = AtomicBool::new(false);

async fn answer(raw: Raw, mut stream: SplitStream<WebSocketStream<TcpStream>>) -> Answer {
    while let Some(Ok(message)) = stream.next().await {
        match message {
            Message::Binary(bytes) if raw.resets(&bytes) => return Answer::Reset,
            Message::Binary(bytes) if raw == Raw::Yamux && bytes.get(1) == Some(&3) => {
                ERROR_SENT.store(true, Relaxed);
            }
            Message::Close(_) => return Answer::Ended,
            _ => (),
        }
    }
    Answer::Ended
}

impl Raw {
    /// The messages that begin the connection and open a stream which the server does not read.
    fn opening(self) -> Vec<Message> {
        let messages = match self {
            Self::Qmux => {
                // Credit and stream limits for the server, so that it can answer.
                let parameters: Vec<u8> = [0x04, 0x05, 0x06, 0x07, 0x08, 0x09]
                    .into_iter()
                    .flat_map(|id| varints(&[id, 4, 1 << 20]))
                    .collect();
                let mut frame = varints(&[QX_TRANSPORT_PARAMETERS, parameters.len() as u64]);
                frame.extend(parameters);
                vec![frame, stream_frame(0, &[STALL])]
            }
            Self::JsWs => vec![
                // An Ack opens stream 0 and grants the server credit.
                vec![0, 0, 1, 0, 0x10, 0, 0],
                vec![0, 0, 0, STALL],
            ],
            Self::Yamux => vec![yamux_frame(SYN, &[STALL])],
            Self::Penguin => {
                // Connect: a window of 512 frames, port 0, no host.
                vec![penguin_frame(0, &[0, 0, 2, 0, 0, 0]), penguin_frame(4, &[STALL])]
            }
        };
        messages.into_iter().map(|message| Message::Binary(message.into())).collect()
    }

    /// The message that carries this data of the stream.
    fn piece(self, offset: u64, data: &[u8]) -> Message {
        let message = match self {
            Self::Qmux => stream_frame(offset, data),
            Self::JsWs => [&[0, 0, 0], data].concat(),
            Self::Yamux => yamux_frame(0, data),
            Self::Penguin => penguin_frame(4, data),
        };
        Message::Binary(Bytes::from(message))
    }

    /// Whether a message of the server resets the stream.
    fn resets(self, message: &[u8]) -> bool {
        match self {
            // RESET_STREAM and STOP_SENDING
            Self::Qmux => matches!(message.first(), Some(0x04 | 0x05)),
            // Error
            Self::JsWs => message.get(1..3) == Some(&[0, 2]),
            Self::Yamux => message.get(3).is_some_and(|flags| flags & RST != 0),
            Self::Penguin => message.first().is_some_and(|first| first & 0x0f == 2),
        }
    }
}

fn varints(values: &[u64]) -> Vec<u8> {
    let mut out = Vec::new();
    for value in values {
        // The values are constants and lengths, far below the limit of 62 bits.
        VarInt::from_u64(*value).unwrap_or_default().encode(&mut out);
    }
    out
}

/// A STREAM frame of stream 0, with offset and length.
fn stream_frame(offset: u64, data: &[u8]) -> Vec<u8> {
    let mut frame = varints(&[0x0e, 0, offset, data.len() as u64]);
    frame.extend_from_slice(data);
    frame
}

const SYN: u8 = 1;
const RST: u8 = 8;

/// A Data frame of stream 1.
fn yamux_frame(flags: u8, data: &[u8]) -> Vec<u8> {
    let mut frame = vec![0, 0, 0, flags, 0, 0, 0, 1];
    frame.extend((data.len() as u32).to_be_bytes());
    frame.extend_from_slice(data);
    frame
}

/// A frame for flow 1, in version 7 of penguin-mux's protocol.
fn penguin_frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x70 | opcode, 0, 0, 0, 1];
    frame.extend_from_slice(payload);
    frame
}
