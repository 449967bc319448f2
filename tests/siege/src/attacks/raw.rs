//! A client for both wires that works without wsmux. It uses tungstenite's WebSocket. It makes
//! frames according to RFC 9000 section 19, and the messages of js-ws with the module `jsws`. Only
//! the victim's messages are decoded with wsmux, because the attacker has to learn the victim's
//! limits. Otherwise the attacker would exceed these limits and soon be disconnected.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use futures_util::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use tokio::{net::TcpStream, sync::watch, task::JoinHandle, time::timeout};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Error, Message, client::IntoClientRequest},
};
use wsmux::{
    VarInt, Wire,
    http::HeaderValue,
    proto::{Credit, Dir, Frame},
};

pub const QX_PING: u64 = 0x348c_6752_9ef8_c7bd;
pub const QX_PARAMETERS: u64 = 0x3f51_5330_0d0a_0d0a;
const MAX_RECORD_SIZE: u64 = 0x0571_c594_29cd_0845;
pub const UNLIMITED: u64 = (1 << 62) - 1;

/// How many streams the victim permits at first.
const STREAMS: u64 = 100;
pub const WINDOW: u64 = 1 << 20;
/// How long a server may take to send its last message to a client that floods it.
const LAST_WORDS: Duration = Duration::from_secs(1);

pub type Socket = WebSocketStream<TcpStream>;

/// The limits and the credit that the victim has granted so far.
#[derive(Debug, Clone, Copy)]
pub struct Granted {
    /// The total number of bidirectional streams.
    pub streams: u64,
    /// The total number of bytes on the first stream.
    pub first: u64,
    /// The number of Acks on all streams, on js-ws.
    pub acks: u64,
    /// The number of streams that the victim has finished, on js-ws.
    pub ends: u64,
}

pub struct Raw {
    sink: SplitSink<Socket, Message>,
    reader: Reader,
    wire: Wire,
    granted: watch::Receiver<Granted>,
    pub messages: u64,
    pub bytes: u64,
}

/// The reader of the connection's messages. `Reads` is a task that reads during the attack, and
/// `Waits` reads only after the attack. The last message says how the connection ended.
enum Reader {
    Reads(JoinHandle<String>),
    Waits(SplitStream<Socket>, watch::Sender<Granted>),
}

/// Appends integers in their shortest form.
pub fn varints(out: &mut Vec<u8>, values: &[u64]) {
    for &value in values {
        // All values here have at most 62 bits.
        VarInt::from_u64(value).unwrap_or_default().encode(out);
    }
}

/// Returns transport parameters that let the victim send `credit` bytes on each stream that we
/// open. If `extra` is given, this parameter is added.
pub fn parameters(credit: u64, extra: Option<(u64, Vec<u8>)>) -> Vec<u8> {
    let mut body = Vec::new();
    for (id, value) in [
        (0x04, UNLIMITED),
        (0x05, credit),
        (0x06, WINDOW),
        (0x07, WINDOW),
        (0x08, STREAMS),
        (0x09, STREAMS),
        (0x20, 65_536),
        (MAX_RECORD_SIZE, 65_536),
    ] {
        let mut encoded = Vec::new();
        varints(&mut encoded, &[value]);
        varints(&mut body, &[id, encoded.len() as u64]);
        body.extend(encoded);
    }
    if let Some((id, value)) = extra {
        varints(&mut body, &[id, value.len() as u64]);
        body.extend(value);
    }
    let mut frame = Vec::new();
    varints(&mut frame, &[QX_PARAMETERS, body.len() as u64]);
    frame.extend(body);
    frame
}

impl Raw {
    /// Connects. `credit` applies only on QMux. On js-ws the Acks of each stream grant its credit.
    pub async fn connect(
        address: SocketAddr,
        wire: Wire,
        reads: bool,
        credit: u64,
    ) -> Result<Self> {
        let socket = open(address, wire).await?;
        let (sink, stream) = socket.split();
        let first = if wire == Wire::QMux { WINDOW } else { 0 };
        let start = Granted { streams: STREAMS, first, acks: 0, ends: 0 };
        let (sender, granted) = watch::channel(start);
        let reader = if reads {
            Reader::Reads(tokio::spawn(read(stream, wire, sender)))
        } else {
            Reader::Waits(stream, sender)
        };
        let mut raw = Self { sink, reader, wire, granted, messages: 0, bytes: 0 };
        if wire == Wire::QMux {
            raw.send(parameters(credit, None)).await?;
        }
        raw.flush().await?;
        Ok(raw)
    }

    pub async fn send(&mut self, message: impl Into<Bytes>) -> Result<()> {
        self.feed(Message::Binary(message.into())).await
    }

    pub async fn ping(&mut self, payload: Bytes) -> Result<()> {
        self.feed(Message::Ping(payload)).await
    }

    async fn feed(&mut self, message: Message) -> Result<()> {
        self.messages += 1;
        self.bytes += message.len() as u64;
        Ok(self.sink.feed(message).await?)
    }

    pub async fn flush(&mut self) -> Result<()> {
        Ok(self.sink.flush().await?)
    }

    pub fn granted(&self) -> Granted {
        *self.granted.borrow()
    }

    /// Waits until the victim has granted enough.
    pub async fn until(&mut self, enough: impl Fn(Granted) -> bool) -> Result<()> {
        if !enough(self.granted()) {
            self.flush().await?;
            self.granted.wait_for(|&granted| enough(granted)).await.context("the reader")?;
        }
        Ok(())
    }

    /// Sends nothing more, and returns the victim's last message.
    pub async fn last_words(self) -> String {
        let wire = self.wire;
        let words = match self.reader {
            Reader::Reads(task) => {
                let abort = task.abort_handle();
                let words = timeout(LAST_WORDS, task).await;
                abort.abort();
                words.map(|done| done.unwrap_or_else(|error| error.to_string()))
            }
            Reader::Waits(stream, sender) => timeout(LAST_WORDS, read(stream, wire, sender)).await,
        };
        words.unwrap_or_else(|_| "nothing".to_owned())
    }
}

/// Opens a WebSocket.
pub async fn open(address: SocketAddr, wire: Wire) -> Result<Socket> {
    let tcp = TcpStream::connect(address).await?;
    tcp.set_nodelay(true)?;
    let mut request = format!("ws://{address}/").into_client_request()?;
    if wire == Wire::QMux {
        let offer = HeaderValue::from_static("qmux-02");
        request.headers_mut().insert("sec-websocket-protocol", offer);
    }
    Ok(tokio_tungstenite::client_async(request, tcp).await?.0)
}

/// Reads until the connection ends, and returns the cause.
async fn read(
    mut stream: SplitStream<Socket>,
    wire: Wire,
    granted: watch::Sender<Granted>,
) -> String {
    loop {
        match stream.next().await {
            Some(Ok(Message::Binary(message))) => {
                if let Err(error) = note(message, wire, &granted) {
                    return error.to_string();
                }
            }
            Some(Ok(Message::Close(Some(close)))) => {
                return format!("{} {}", close.code, close.reason).trim().to_owned();
            }
            Some(Ok(_)) => {}
            Some(Err(Error::Io(error))) => return error.kind().to_string(),
            Some(Err(error)) => return error.to_string(),
            None => return "the end of the stream".to_owned(),
        }
    }
}

fn note(mut message: Bytes, wire: Wire, granted: &watch::Sender<Granted>) -> Result<()> {
    let wrong = |error| anyhow!("not {wire:?}: {error}");
    while let Some(frame) = wire.decode(&mut message).map_err(wrong)? {
        match frame {
            Frame::MaxStreams { dir: Dir::Bi, count } => {
                granted.send_modify(|granted| granted.streams = granted.streams.max(count));
            }
            Frame::MaxStreamData { id, credit: Credit::Total(total) } if id.into_inner() == 0 => {
                granted.send_modify(|granted| granted.first = granted.first.max(total));
            }
            Frame::MaxStreamData { id, credit: Credit::More(more) } => {
                granted.send_modify(|granted| {
                    granted.acks += 1;
                    granted.first += if id.into_inner() == 0 { more } else { 0 };
                });
            }
            Frame::Stream { fin: true, .. } if wire == Wire::JsWs => {
                granted.send_modify(|granted| granted.ends += 1);
            }
            _ => {}
        }
    }
    Ok(())
}
