//! A native server that executes the command in the first line of each stream.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use bytes::Bytes;
use tokio::{net::TcpListener, task::JoinSet};
use web_transport_trait::{Error as _, RecvStream, SendStream, Session};
use wsmux::{Config, WebSocketServer, Wire};

use crate::{journal::Journal, scripted};

/// The kind of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Qmux,
    Wsmux(Wire),
    /// A server whose messages are described by the test.
    Scripted,
}

impl Kind {
    const ALL: [Self; 4] =
        [Self::Wsmux(Wire::QMux), Self::Wsmux(Wire::JsWs), Self::Qmux, Self::Scripted];

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Wsmux(Wire::QMux) => "wsmux",
            Self::Wsmux(_) => "wsmux-js-ws",
            Self::Qmux => "qmux",
            Self::Scripted => "scripted",
        }
    }

    /// Returns the page's name for the wire.
    pub(crate) fn wire(self) -> &'static str {
        match self {
            Self::Wsmux(Wire::JsWs) => "js-ws",
            _ => "qmux",
        }
    }
}

/// A server. Dropping it ends the server and its connections.
pub(crate) struct Peer {
    address: SocketAddr,
    journal: Arc<Journal>,
    _tasks: JoinSet<()>,
}

impl Peer {
    pub(crate) async fn start(kind: Kind) -> anyhow::Result<Self> {
        let journal = Arc::new(Journal::default());
        let mut tasks = JoinSet::new();
        let address = match kind {
            Kind::Wsmux(wire) => {
                let mut config = Config::default();
                // Only pages that also turn resumption on can resume their connections.
                config.resume_timeout(Some(Duration::from_secs(60)));
                let builder = WebSocketServer::builder()
                    .wires([wire])
                    .config(config)
                    .protocol("chat")
                    .bare_protocol("com.example.bare");
                let server = builder.bind("127.0.0.1:0").await?;
                let address = server.local_addr()?;
                let journal = journal.clone();
                tasks.spawn(async move {
                    let mut sessions = JoinSet::new();
                    while let Some(connecting) = server.accept().await {
                        let journal = journal.clone();
                        sessions.spawn(async move {
                            if let Ok(connection) = connecting.await {
                                let drained = connection.clone();
                                serve(connection, journal, Arc::new(move || drained.drain())).await;
                            }
                        });
                    }
                });
                address
            }
            Kind::Qmux => {
                let listener = TcpListener::bind("127.0.0.1:0").await?;
                let address = listener.local_addr()?;
                let journal = journal.clone();
                tasks.spawn(async move {
                    let mut sessions = JoinSet::new();
                    while let Ok((tcp, _)) = listener.accept().await {
                        let _ = tcp.set_nodelay(true);
                        let journal = journal.clone();
                        sessions.spawn(async move {
                            let server = qmux::ws::Server::new().with_protocol("chat", &[]);
                            if let Ok(session) = server.accept(tcp).await {
                                serve(session, journal, Arc::new(|| {})).await;
                            }
                        });
                    }
                });
                address
            }
            Kind::Scripted => {
                let listener = TcpListener::bind("127.0.0.1:0").await?;
                let address = listener.local_addr()?;
                let journal = journal.clone();
                tasks.spawn(async move {
                    let mut sessions = JoinSet::new();
                    while let Ok((tcp, _)) = listener.accept().await {
                        let journal = journal.clone();
                        sessions.spawn(async move {
                            let ended = scripted::serve(tcp).await;
                            journal.end(format!("{ended:?}"));
                        });
                    }
                });
                address
            }
        };
        Ok(Self { address, journal, _tasks: tasks })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn journal(&self) -> Arc<Journal> {
        self.journal.clone()
    }
}

/// Drains a connection, if its crate can do that.
type Drain = Arc<dyn Fn() + Send + Sync>;

async fn serve<S: Session>(session: S, journal: Arc<Journal>, drain: Drain) {
    let bidirectional = async {
        let mut streams = JoinSet::new();
        while let Ok((send, recv)) = session.accept_bi().await {
            streams.spawn(obey(session.clone(), send, recv, journal.clone(), drain.clone()));
        }
        // These tasks end when their connection does.
        streams.detach_all();
    };
    let unidirectional = async {
        while let Ok(recv) = session.accept_uni().await {
            tokio::spawn(send_back(session.clone(), recv));
        }
    };
    let datagrams = async {
        while let Ok(datagram) = session.recv_datagram().await {
            let _ = session.send_datagram(datagram);
        }
    };
    let end = async {
        let error = session.closed().await;
        journal.end(match error.session_error() {
            Some((code, reason)) => format!("{code} {reason}"),
            None => format!("lost: {error}"),
        });
    };
    tokio::join!(bidirectional, unidirectional, datagrams, end);
}

/// Echoes a unidirectional stream of the page on a new stream of the server.
async fn send_back<S: Session>(session: S, mut recv: S::RecvStream) -> anyhow::Result<()> {
    let all = recv.read_all().await?;
    let mut send = session.open_uni().await?;
    send.write_chunk(all).await?;
    Ok(send.finish()?)
}

async fn obey<S: Session>(
    session: S,
    mut send: S::SendStream,
    mut recv: S::RecvStream,
    journal: Arc<Journal>,
    drain: Drain,
) -> anyhow::Result<()> {
    let line = read_line(&mut recv).await?;
    let words: Vec<_> = line.split(' ').collect();
    match words[..] {
        ["echo"] => {
            while let Some(chunk) = recv.read_chunk(usize::MAX).await? {
                send.write_chunk(chunk).await?;
            }
        }
        // This stream is not read until another stream has the command `release`.
        ["hold", seed] => {
            journal.released().await;
            let heard = hear(&mut recv, seed.parse()?).await;
            send.write_all(heard.as_bytes()).await?;
        }
        ["release"] => journal.release(),
        ["source", seed, bytes] => {
            let error = pour(&mut send, seed.parse()?, bytes.parse()?, &journal).await.err();
            if let Some(error) = error {
                journal.tell(match error.stream_error() {
                    Some(code) => format!("stopped {code}"),
                    None => format!("lost: {error}"),
                });
                return Ok(());
            }
        }
        ["written"] => send.write_all(journal.written().to_string().as_bytes()).await?,
        // The outcome of the stream is recorded in the journal.
        ["listen", seed] => journal.tell(hear(&mut recv, seed.parse()?).await),
        ["news"] => send.write_all(journal.told().await.as_bytes()).await?,
        ["reset", code] => {
            send.write_all(b"some").await?;
            send.reset(code.parse()?);
            hear(&mut recv, 0).await;
            return Ok(());
        }
        ["stop", code] => recv.stop(code.parse()?),
        ["open-bi", seed, bytes] => {
            let (mut theirs, mut back) = session.open_bi().await?;
            pour(&mut theirs, seed.parse()?, bytes.parse()?, &journal).await?;
            theirs.finish()?;
            journal.tell(hear(&mut back, seed.parse()?).await);
        }
        ["open-uni", seed, bytes] => {
            let mut theirs = session.open_uni().await?;
            pour(&mut theirs, seed.parse()?, bytes.parse()?, &journal).await?;
            theirs.finish()?;
        }
        ["drain"] => drain(),
        ["close", code, reason] => session.close(code.parse()?, reason),
        _ => bail!("no command {line:?}"),
    }
    send.finish()?;
    // The data must be sent before the handle is dropped.
    Ok(send.closed().await?)
}

async fn read_line(recv: &mut impl RecvStream) -> anyhow::Result<String> {
    let mut line = Vec::new();
    loop {
        let mut byte = [0];
        recv.read(&mut byte).await?.context("a line")?;
        match byte {
            [b'\n'] => return Ok(String::from_utf8(line)?),
            [byte] => line.push(byte),
        }
    }
}

/// Returns byte `at` of the stream with this seed.
pub(crate) fn pattern(seed: u8, at: u64) -> u8 {
    (at as u8).wrapping_mul(31).wrapping_add((at >> 8) as u8).wrapping_add(seed)
}

/// Reads a stream, and describes how it ended and how many bytes arrived.
async fn hear(recv: &mut impl RecvStream, seed: u8) -> String {
    let mut at = 0;
    loop {
        match recv.read_chunk(usize::MAX).await {
            Ok(Some(chunk)) => {
                if let Some(wrong) =
                    (at..).zip(&chunk).find(|(at, byte)| pattern(seed, *at) != **byte)
                {
                    return format!("wrong at {}", wrong.0);
                }
                at += chunk.len() as u64;
            }
            Ok(None) => return format!("end {at}"),
            Err(error) => {
                return match error.stream_error() {
                    Some(code) => format!("reset {code}"),
                    None => format!("lost: {error}"),
                };
            }
        }
    }
}

async fn pour<T: SendStream>(
    send: &mut T,
    seed: u8,
    bytes: u64,
    journal: &Journal,
) -> Result<(), T::Error> {
    let mut at = 0;
    while at < bytes {
        let end = bytes.min(at + 16 * 1024);
        let chunk: Bytes = (at..end).map(|at| pattern(seed, at)).collect();
        send.write_chunk(chunk).await?;
        journal.wrote((end - at) as usize);
        at = end;
    }
    Ok(())
}
