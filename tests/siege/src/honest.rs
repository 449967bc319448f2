//! A client that behaves well. The client sends large and small streams that the victim echoes, and
//! checks every byte.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use wsmux::{WebSocketClient, WebSocketConnection};

use crate::{pattern, process};

/// The length of each bulk stream.
const BULK: u64 = 4 << 20;
const SMALL: u64 = 64;
/// The number of workers of each kind. This number keeps the connection busy, and leaves most of
/// the machine to the other processes.
const WORKERS: u64 = 2;
/// How long to wait before each further connection. The further connections show whether the server
/// still accepts new clients during an attack.
const CONNECT_EVERY: Duration = Duration::from_millis(250);

/// What the client has done since it was last asked.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Done {
    pub seconds: f64,
    /// How many bytes were sent and echoed.
    pub bytes: u64,
    pub calls: u64,
    pub connects: u64,
    /// The longest time that a call took, in milliseconds.
    pub slowest_call: f64,
    /// The longest time that connecting and the first call took, in milliseconds.
    pub slowest_connect: f64,
    pub failure: Option<String>,
}

impl Done {
    pub fn add(&mut self, other: Self) {
        self.seconds += other.seconds;
        self.bytes += other.bytes;
        self.calls += other.calls;
        self.connects += other.connects;
        self.slowest_call = self.slowest_call.max(other.slowest_call);
        self.slowest_connect = self.slowest_connect.max(other.slowest_connect);
        self.failure = self.failure.take().or(other.failure);
    }
}

#[derive(Default)]
struct Tally {
    seed: AtomicU64,
    bytes: AtomicU64,
    calls: AtomicU64,
    connects: AtomicU64,
    slowest_call: AtomicU64,
    slowest_connect: AtomicU64,
    failure: Mutex<Option<String>>,
}

impl Tally {
    fn take(&self, since: &mut Instant) -> Done {
        let take = |counter: &AtomicU64| counter.swap(0, Ordering::Relaxed);
        let seconds = since.elapsed().as_secs_f64();
        *since = Instant::now();
        Done {
            seconds,
            bytes: take(&self.bytes),
            calls: take(&self.calls),
            connects: take(&self.connects),
            slowest_call: take(&self.slowest_call) as f64 / 1e3,
            slowest_connect: take(&self.slowest_connect) as f64 / 1e3,
            failure: self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    async fn keep<F: Future<Output = Result<()>>>(self: Arc<Self>, what: &'static str, job: F) {
        if let Err(error) = job.await {
            let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
            failure.get_or_insert(format!("{what}: {error:#}"));
        }
    }
}

pub async fn run(url: String) -> Result<()> {
    let client = WebSocketClient::builder().danger_accept_any_certificate().build()?;
    let connection = client.connect(&url).await?;
    let tally = Arc::new(Tally::default());
    echo(&connection, &tally, SMALL).await?;
    for _ in 0..WORKERS {
        tokio::spawn(tally.clone().keep("bulk", bulk(connection.clone(), tally.clone())));
        tokio::spawn(tally.clone().keep("calls", calls(connection.clone(), tally.clone())));
    }
    tokio::spawn(tally.clone().keep("connects", connects(client, url, tally.clone())));
    let mut since = Instant::now();
    process::serve(move || Ok(tally.take(&mut since))).await
}

async fn bulk(connection: WebSocketConnection, tally: Arc<Tally>) -> Result<()> {
    loop {
        echo(&connection, &tally, BULK).await?;
    }
}

async fn calls(connection: WebSocketConnection, tally: Arc<Tally>) -> Result<()> {
    loop {
        let start = Instant::now();
        echo(&connection, &tally, SMALL).await?;
        tally.calls.fetch_add(1, Ordering::Relaxed);
        tally.slowest_call.fetch_max(start.elapsed().as_micros() as u64, Ordering::Relaxed);
    }
}

async fn connects(client: WebSocketClient, url: String, tally: Arc<Tally>) -> Result<()> {
    loop {
        let start = Instant::now();
        let connection = client.connect(&url).await?;
        echo(&connection, &tally, SMALL).await?;
        tally.slowest_connect.fetch_max(start.elapsed().as_micros() as u64, Ordering::Relaxed);
        tally.connects.fetch_add(1, Ordering::Relaxed);
        connection.close(0u32.into(), b"");
        tokio::time::sleep(CONNECT_EVERY).await;
    }
}

/// Sends a stream of `len` bytes, and reads them back.
async fn echo(connection: &WebSocketConnection, tally: &Tally, len: u64) -> Result<()> {
    let seed = tally.seed.fetch_add(1, Ordering::Relaxed);
    let (mut send, mut recv) = connection.open_bi().await.context("opening")?.into_split();
    let write = async {
        let mut at = 0;
        while at < len {
            let chunk = pattern::bytes(seed, at, len - at);
            at += chunk.len() as u64;
            send.write_chunk(chunk).await.context("writing")?;
        }
        send.finish().context("finishing")
    };
    let read = async {
        let mut at = 0;
        while let Some(chunk) = recv.read_chunk(usize::MAX).await.context("reading")? {
            pattern::check(seed, at, &chunk)?;
            at += chunk.len() as u64;
            tally.bytes.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        }
        ensure!(at == len, "{at} bytes came back of {len}");
        Ok(())
    };
    tokio::try_join!(write, read)?;
    Ok(())
}
