//! A server whose behaviour on each stream depends on the stream's first byte. This behaviour is
//! the same on each wire and with each implementation.

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context, Result, bail};
use bytes::{Buf, Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use sha2::{Digest, Sha256};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Mutex, mpsc, watch},
};
use web_transport_trait::{Error as _, RecvStream, SendStream, Session};
use wsmux::{
    WebSocketServer,
    tokio_tungstenite::{self, tungstenite::Message},
};

/// The implementation and the wire of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    QMux,
    JsWs,
    /// The crate `qmux`, on its own wire.
    Foreign,
    /// A WebSocket without a subprotocol, on which the server sends a text message, which neither
    /// wire allows.
    Rude,
}

impl Wire {
    pub(crate) const ALL: [Self; 4] = [Self::QMux, Self::JsWs, Self::Foreign, Self::Rude];

    pub(crate) fn parse(name: &str) -> Result<Self> {
        let is_named = |wire: &Self| wire.name() == name;
        Self::ALL.into_iter().find(is_named).with_context(|| format!("{name:?} is no wire"))
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::QMux => "qmux",
            Self::JsWs => "js-ws",
            Self::Foreign => "foreign",
            Self::Rude => "rude",
        }
    }
}

/// The code and reason with which each client closed its connection.
type Ends = watch::Sender<Vec<(u32, String)>>;

/// A server that listens on a port of its own.
pub(crate) struct Service {
    url: String,
    ends: Arc<Ends>,
}

impl Service {
    pub(crate) async fn start(wire: Wire) -> Result<Self> {
        let ends = Arc::new(watch::channel(Vec::new()).0);
        let told = ends.clone();
        let address = match wire {
            Wire::QMux | Wire::JsWs => {
                let spoken = if wire == Wire::QMux { wsmux::Wire::QMux } else { wsmux::Wire::JsWs };
                let server = WebSocketServer::builder().wires([spoken]).bind("127.0.0.1:0").await?;
                let address = server.local_addr()?;
                tokio::spawn(async move {
                    while let Some(connecting) = server.accept().await {
                        let told = told.clone();
                        tokio::spawn(async move {
                            match connecting.await {
                                Ok(connection) => serve(connection, &told).await,
                                Err(error) => eprintln!("no connection: {error}"),
                            }
                        });
                    }
                });
                address
            }
            Wire::Foreign => {
                listen(move |tcp| {
                    let told = told.clone();
                    async move {
                        let session = qmux::ws::Server::new().accept(tcp).await?;
                        serve(session, &told).await;
                        Ok(())
                    }
                })
                .await?
            }
            Wire::Rude => {
                listen(move |tcp| {
                    let told = told.clone();
                    async move {
                        let mut websocket = tokio_tungstenite::accept_async(tcp).await?;
                        websocket.send("words".into()).await?;
                        while let Some(message) = websocket.next().await {
                            if let Message::Close(Some(close)) = message? {
                                let end = (u16::from(close.code).into(), close.reason.to_string());
                                told.send_modify(|ends| ends.push(end));
                            }
                        }
                        Ok(())
                    }
                })
                .await?
            }
        };
        Ok(Self { url: format!("ws://{address}/"), ends })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Waits until a client has closed a connection with this code, and returns the reason.
    pub(crate) async fn saw(&self, code: u32) -> String {
        let mut ends = self.ends.subscribe();
        let found = |ends: &Vec<(u32, String)>| ends.iter().any(|end| end.0 == code);
        let ends = ends.wait_for(found).await.expect("a sender that is kept");
        ends.iter().find(|end| end.0 == code).expect("what was waited for").1.clone()
    }
}

/// Starts to accept connections on a new port.
async fn listen<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> Result<SocketAddr>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            // With Nagle's algorithm each short stream would wait for a delayed acknowledgement.
            let _ = tcp.set_nodelay(true);
            let served = serve(tcp);
            tokio::spawn(async move {
                if let Err(error) = served.await {
                    eprintln!("{error:#}");
                }
            });
        }
    });
    Ok(address)
}

/// Records the events of a connection's streams.
struct Log {
    tell: mpsc::UnboundedSender<String>,
    told: Mutex<mpsc::UnboundedReceiver<String>>,
}

async fn serve<S: Session>(session: S, ends: &Ends) {
    let (tell, told) = mpsc::unbounded_channel();
    let log = Arc::new(Log { tell, told: Mutex::new(told) });
    let bi = async {
        while let Ok((send, recv)) = session.accept_bi().await {
            let stream = Stream { session: session.clone(), log: log.clone(), send };
            tokio::spawn(async move {
                // In some tests the client disconnects in the middle of a stream.
                let _ = stream.serve(Reader { recv, rest: Bytes::new() }).await;
            });
        }
    };
    let uni = async {
        while let Ok(mut recv) = session.accept_uni().await {
            let session = session.clone();
            tokio::spawn(async move {
                let all = recv.read_all().await?;
                let mut send = session.open_uni().await?;
                send.write_chunk(all).await?;
                send.finish()?;
                anyhow::Ok(())
            });
        }
    };
    let datagrams = async {
        while let Ok(datagram) = session.recv_datagram().await {
            let _ = session.send_datagram(datagram);
        }
    };
    tokio::join!(bi, uni, datagrams);
    if let Some(end) = session.closed().await.session_error() {
        ends.send_modify(|ends| ends.push(end));
    }
}

struct Stream<S: Session> {
    session: S,
    log: Arc<Log>,
    send: S::SendStream,
}

impl<S: Session> Stream<S> {
    async fn serve(mut self, mut reader: Reader<S::RecvStream>) -> Result<()> {
        match reader.take(1).await?[0] {
            // Echoes the stream.
            b'E' => {
                while let Some(chunk) = reader.next().await? {
                    self.send.write_chunk(chunk).await?;
                }
                self.send.finish()?;
            }
            // Answers with a digest: the number of bytes and their SHA-256.
            b'D' => {
                let (mut length, mut hash) = (0, Sha256::new());
                while let Some(chunk) = reader.next().await? {
                    length += chunk.len() as u64;
                    hash.update(&chunk);
                }
                let answer = [&length.to_be_bytes()[..], &hash.finalize()].concat();
                self.send.write_chunk(answer.into()).await?;
                self.send.finish()?;
            }
            // Holds the stream, and reads nothing more from it.
            b'H' => {
                self.session.closed().await;
            }
            // Resets the sending half.
            b'R' => {
                self.send.reset(reader.code().await?);
                while reader.next().await?.is_some() {}
            }
            // Stops the receiving half.
            b'T' => {
                let code = reader.code().await?;
                reader.recv.stop(code);
                self.send.write_chunk("stopped".into()).await?;
                self.send.finish()?;
                self.session.closed().await;
            }
            // Sends a byte, which shows that the command has been read. Then reads until the stream
            // ends, and logs how the stream ended.
            b'W' => {
                self.send.write_chunk("w".into()).await?;
                let end = loop {
                    match reader.recv.read_chunk(usize::MAX).await {
                        Ok(Some(_)) => {}
                        Ok(None) => break "finished".to_owned(),
                        Err(error) => break format!("reset {}", code_of(error.stream_error())),
                    }
                };
                self.log.tell.send(end)?;
            }
            // Writes until the stream is stopped, and logs the code.
            b'X' => {
                let zeros = Bytes::from_static(&[0; 16 * 1024]);
                let error = loop {
                    if let Err(error) = self.send.write_chunk(zeros.clone()).await {
                        break error;
                    }
                };
                self.log.tell.send(format!("stopped {}", code_of(error.stream_error())))?;
            }
            // Sends the next entry of the log.
            b'L' => {
                let entry = self.log.told.lock().await.recv().await.context("an entry")?;
                self.send.write_chunk(entry.into()).await?;
                self.send.finish()?;
            }
            // Closes the connection.
            b'C' => {
                let code = reader.code().await?;
                let mut reason = BytesMut::new();
                while let Some(chunk) = reader.next().await? {
                    reason.extend_from_slice(&chunk);
                }
                self.session.close(code, std::str::from_utf8(&reason)?);
            }
            other => bail!("{other} is no command"),
        }
        Ok(())
    }
}

fn code_of(code: Option<u32>) -> String {
    code.map_or_else(|| "without a code".to_owned(), |code| code.to_string())
}

struct Reader<R> {
    recv: R,
    rest: Bytes,
}

impl<R: RecvStream> Reader<R> {
    /// Returns the next chunk, or `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>> {
        match self.rest.is_empty() {
            true => Ok(self.recv.read_chunk(usize::MAX).await?),
            false => Ok(Some(std::mem::take(&mut self.rest))),
        }
    }

    /// Returns the next `length` bytes.
    async fn take(&mut self, length: usize) -> Result<Bytes> {
        let mut taken = BytesMut::new();
        while taken.len() < length {
            let mut chunk = self.next().await?.context("a command that ends")?;
            taken.extend_from_slice(&chunk.split_to(chunk.len().min(length - taken.len())));
            self.rest = chunk;
        }
        Ok(taken.freeze())
    }

    async fn code(&mut self) -> Result<u32> {
        Ok(self.take(4).await?.get_u32())
    }
}
