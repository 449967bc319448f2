//! Our end of the interop tests: a server or a client, bytes that can be checked, and an echo.
#![allow(
    dead_code,
    unused_imports,
    unused_macros,
    reason = "each test file is a crate of its own and uses its part of this"
)]

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::watch;
use wsmux::{
    Config, ReadError, RecvStream, SendStream, VarInt, WebSocketConnection, WebSocketServer,
    WriteError,
    rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};

pub const KIB: u64 = 1024;
pub const MIB: u64 = 1024 * KIB;

/// A time limit. A test that reaches it has failed. The longest wait is for a Node peer's answer to
/// a command that moves 32 MiB through the smallest windows, which takes 10 s on two idle cores.
const PATIENCE: Duration = Duration::from_secs(120);

/// Waits for `future`. If it takes too long, fails with a message that names `what`.
pub async fn within<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("{what} did not happen within {PATIENCE:?}"),
    }
}

pub fn code(value: u64) -> VarInt {
    VarInt::from_u64(value).expect("a code of 62 bits")
}

/// Whether we are the server or the client of the WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    WeServe,
    WeConnect,
}

/// Which end opens a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opener {
    Us,
    Them,
}

impl Opener {
    pub const BOTH: [Self; 2] = [Self::Us, Self::Them];
}

/// Makes two tests of each function: one in which we are the server, and one in which we are the
/// client. A type before the list stands for the foreign end. In that case the functions must be
/// generic over the foreign end.
#[macro_export]
macro_rules! in_both_roles {
    ($(<$them:ident>)? $($name:ident,)*) => {
        in_both_roles! { @ we_serve, WeServe, [$($them)?] $($name)* }
        in_both_roles! { @ we_connect, WeConnect, [$($them)?] $($name)* }
    };
    (@ $module:ident, $role:ident, $them:tt $($name:ident)*) => {
        mod $module {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::in_both_roles! { @ call, $name, $role, $them }
            })*
        }
    };
    (@ call, $name:ident, $role:ident, []) => { super::$name(super::Role::$role).await };
    (@ call, $name:ident, $role:ident, [$them:ident]) => {
        super::$name::<super::$them>(super::Role::$role).await
    };
}
pub use in_both_roles;

pub fn config(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::default();
    change(&mut config);
    config
}

// ---- certificates ---------------------------------------------------------------------------

/// A certificate for localhost that was created for the test, in the forms that the two ends need.
#[derive(Debug)]
pub struct Certificate {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
    pub cert_pem: String,
    pub key_pem: String,
}

/// The files of a certificate, which are removed when this value is dropped.
#[derive(Debug)]
pub struct CertificateFiles {
    pub cert: String,
    pub key: String,
}

impl Default for Certificate {
    fn default() -> Self {
        Self::new()
    }
}

impl Certificate {
    pub fn new() -> Self {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let certified = rcgen::generate_simple_self_signed(names).expect("a certificate");
        Self {
            chain: vec![certified.cert.der().clone()],
            key: PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der()).into(),
            cert_pem: certified.cert.pem(),
            key_pem: certified.signing_key.serialize_pem(),
        }
    }

    pub fn write(&self) -> CertificateFiles {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let file = |kind, text: &str| {
            let name = format!("{}-{number}-{kind}.pem", std::process::id());
            let path = std::env::temp_dir().join(format!("wsmux-{name}"));
            std::fs::write(&path, text).expect("a file in the directory for temporary files");
            path.to_str().expect("a path in UTF-8").to_owned()
        };
        CertificateFiles { cert: file("cert", &self.cert_pem), key: file("key", &self.key_pem) }
    }
}

impl Drop for CertificateFiles {
    fn drop(&mut self) {
        for path in [&self.cert, &self.key] {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Accepts the next connection at one of our servers.
pub async fn accept(server: &WebSocketServer) -> WebSocketConnection {
    let incoming = within("a connection", server.accept()).await.expect("the server lives");
    within("the handshake", incoming).await.expect("a handshake")
}

// ---- bytes ----------------------------------------------------------------------------------

/// The pattern repeats after this many bytes.
const PERIOD: usize = 65536;

/// Returns `len` bytes of the pattern from `offset`. As in the Node peers, byte i of a stream is
/// `(i * 31 + (i >> 8) * 17 + seed) & 0xff`. The table holds two periods of the pattern, so every
/// part of the pattern that is at most one period long is a slice of the table.
pub fn pattern(seed: u8, offset: u64, len: usize) -> Bytes {
    static TABLES: [OnceLock<Bytes>; 256] = [const { OnceLock::new() }; 256];
    let table = TABLES[usize::from(seed)].get_or_init(|| {
        (0..2 * PERIOD).map(|i| (i * 31 + (i >> 8) * 17 + usize::from(seed)) as u8).collect()
    });
    let from = (offset % PERIOD as u64) as usize;
    table.slice(from..from + len.min(PERIOD))
}

/// Writes `bytes` bytes of the pattern from `offset`, and does not finish the stream.
pub async fn write_pattern(
    send: &mut SendStream,
    seed: u8,
    offset: u64,
    bytes: u64,
) -> Result<(), WriteError> {
    let end = offset + bytes;
    let mut at = offset;
    while at < end {
        let chunk = pattern(seed, at, (end - at).min(PERIOD as u64) as usize);
        at += chunk.len() as u64;
        send.write_chunk(chunk).await?;
    }
    Ok(())
}

/// Writes a whole stream of the pattern, and finishes it.
pub async fn send_pattern(send: &mut SendStream, seed: u8, bytes: u64) {
    let job = write_pattern(send, seed, 0, bytes);
    within("writing", job).await.expect("a stream that takes all");
    send.finish().expect("a stream that can be finished");
}

/// Fails unless `chunk` has the bytes of the pattern at `offset`.
pub fn check_pattern(seed: u8, offset: u64, chunk: &[u8]) {
    let mut at = offset;
    for run in chunk.chunks(PERIOD) {
        assert!(pattern(seed, at, run.len()) == run, "not what was sent, from byte {at} on");
        at += run.len() as u64;
    }
}

/// Reads a whole stream, checks every byte, and fails unless the end is clean.
pub async fn receive_pattern(recv: &mut RecvStream, seed: u8, bytes: u64) {
    receive_pattern_from(recv, seed, 0, bytes).await;
}

/// Reads a stream as [`receive_pattern`] does, but expects a pattern that starts at the offset
/// `from`.
pub async fn receive_pattern_from(recv: &mut RecvStream, seed: u8, from: u64, bytes: u64) {
    let mut offset = from;
    while let Some(chunk) =
        within("reading", recv.read_chunk(usize::MAX)).await.expect("a clean end")
    {
        check_pattern(seed, offset, &chunk);
        offset += chunk.len() as u64;
    }
    assert_eq!(offset - from, bytes, "bytes until the end of the stream");
}

/// Sends a stream to the peer's echo, and reads it back.
pub async fn get_echo(connection: &WebSocketConnection, seed: u8, bytes: u64) {
    let stream = within("opening", connection.open_bi()).await.expect("a stream");
    let (mut send, mut recv) = stream.into_split();
    tokio::join!(send_pattern(&mut send, seed, bytes), receive_pattern(&mut recv, seed, bytes));
}

/// Reads until the end or an error, and discards the bytes.
pub async fn read_to_error(recv: &mut RecvStream) -> Option<ReadError> {
    let job = async {
        loop {
            match recv.read_chunk(usize::MAX).await {
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(error) => return Some(error),
            }
        }
    };
    within("the end of the stream", job).await
}

/// Returns the code with which the peer resets the stream. Any data before the reset is ignored.
pub async fn reset_code(recv: &mut RecvStream) -> u64 {
    match read_to_error(recv).await {
        Some(ReadError::Reset(code)) => code.into_inner(),
        other => panic!("not a reset, but {other:?}"),
    }
}

/// Returns the code with which the peer stops the stream.
pub async fn stop_code(send: &SendStream) -> u64 {
    match within("a stop", send.stopped()).await {
        Ok(Some(code)) => code.into_inner(),
        other => panic!("not a stop, but {other:?}"),
    }
}

// ---- echo -----------------------------------------------------------------------------------

/// Sends back whatever arrives on the peer's bidirectional streams, and its datagrams, until the
/// connection ends.
#[derive(Debug)]
pub struct Echo {
    busy: Arc<watch::Sender<u64>>,
}

impl Echo {
    pub fn start(connection: &WebSocketConnection) -> Self {
        let busy = Arc::new(watch::Sender::new(0));
        let (connection, count) = (connection.clone(), busy.clone());
        tokio::spawn(async move {
            let bi = async {
                while let Ok(stream) = connection.accept_bi().await {
                    let (mut send, mut recv) = stream.into_split();
                    spawn_counted(&count, async move {
                        while let Some(chunk) = recv.read_chunk(usize::MAX).await? {
                            send.write_chunk(chunk).await?;
                        }
                        Ok(send.finish()?)
                    });
                }
            };
            let datagrams = async {
                while let Ok(datagram) = connection.read_datagram().await {
                    let _ = connection.send_datagram(datagram);
                }
            };
            tokio::join!(bi, datagrams);
        });
        Self { busy }
    }

    /// Waits until every stream that arrived has been handled and its handles have been dropped.
    pub async fn idle(&self) {
        let mut busy = self.busy.subscribe();
        within("the echo's last stream", busy.wait_for(|&busy| busy == 0)).await.unwrap();
    }
}

fn spawn_counted(
    busy: &Arc<watch::Sender<u64>>,
    job: impl Future<Output = std::io::Result<()>> + Send + 'static,
) {
    busy.send_modify(|busy| *busy += 1);
    let busy = busy.clone();
    tokio::spawn(async move {
        // If a stream does not end cleanly, the test at the other end has to report that.
        let _ = job.await;
        busy.send_modify(|busy| *busy -= 1);
    });
}
