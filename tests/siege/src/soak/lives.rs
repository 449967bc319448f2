//! The life of a connection: what its two ends do, and how it ends.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{
    task::JoinSet,
    time::{sleep, sleep_until, timeout},
};
use wsmux::{ConnectionError, WebSocketConnection, Wire};

use super::{
    link::{Link, World},
    play,
    script::Wrong,
    tally::{Tally, count},
};

/// A limit that is much longer than any step takes, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// How many streams each end has open at the same time. The number is below the limit, so that
/// nothing is refused on js-ws, where the limit is not advertised.
const OPENERS: usize = 12;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// All streams end first, and then the connection.
    Quiet,
    Drain,
    /// One end closes while streams are open.
    Close,
    /// All handles of one end are dropped, including those with waiting operations.
    Drop,
    /// The network is cut.
    Cut,
}

/// Whether the connection is about to end. The tasks of both ends share this value. Until `ending`
/// is set, nothing may fail.
#[derive(Debug, Default)]
pub struct Fate {
    /// Whether neither end opens any more streams.
    pub quiet: AtomicBool,
    pub ending: AtomicBool,
}

impl Fate {
    pub fn goes_on(&self) -> bool {
        !self.quiet.load(Ordering::Relaxed) && !self.ending.load(Ordering::Relaxed)
    }

    /// Checks the outcome of a stream. The stream may fail only once the end of the connection has
    /// begun, and must never contain wrong bytes.
    pub fn judge(&self, tally: &Tally, outcome: Result<()>) -> Result<()> {
        match outcome {
            Ok(()) => count(&tally.streams, 1),
            Err(error) if error.is::<Wrong>() || !self.ending.load(Ordering::Relaxed) => {
                return Err(error);
            }
            Err(_) => count(&tally.lost, 1),
        }
        Ok(())
    }
}

/// One end, and its tasks.
struct End {
    connection: WebSocketConnection,
    openers: JoinSet<Result<()>>,
    acceptors: JoinSet<Result<()>>,
}

impl End {
    fn start(
        connection: WebSocketConnection,
        rng: &mut StdRng,
        fate: &Arc<Fate>,
        tally: &Arc<Tally>,
    ) -> Self {
        let mut openers = JoinSet::new();
        for _ in 0..OPENERS {
            let (connection, fate, tally) = (connection.clone(), fate.clone(), tally.clone());
            openers.spawn(play::open_many(connection, rng.fork(), fate, tally));
        }
        let mut acceptors = JoinSet::new();
        let (fate, tally) = (fate.clone(), tally.clone());
        acceptors.spawn(play::accept_all(connection.clone(), rng.fork(), fate, tally));
        Self { connection, openers, acceptors }
    }

    /// Waits for the first task that fails, and returns its error.
    async fn watch(&mut self) -> anyhow::Error {
        loop {
            let done = tokio::select! {
                Some(done) = self.openers.join_next() => done,
                Some(done) = self.acceptors.join_next() => done,
                else => std::future::pending().await,
            };
            match done {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return error,
                Err(error) => return error.into(),
            }
        }
    }
}

async fn join(tasks: &mut JoinSet<Result<()>>, what: &str) -> Result<()> {
    while let Some(done) = timeout(PATIENCE, tasks.join_next())
        .await
        .map_err(|_| anyhow!("{what}: {} tasks hang", tasks.len()))?
    {
        match done {
            Err(error) if error.is_cancelled() => {}
            done => done??,
        }
    }
    Ok(())
}

pub async fn live(world: &World, seed: u64, until: Instant, tally: Arc<Tally>) -> Result<()> {
    let mut rng = StdRng::seed_from_u64(seed);
    // Only QMux has resumption.
    let wire = if rng.random() || world.kills() { Wire::QMux } else { Wire::JsWs };
    let tls = rng.random();
    // With `kills`, connections outlive their sockets. So a cut does not end them, and is left out.
    let endings = if world.kills() { 4 } else { 5 };
    let ending = match rng.random_range(0..endings) {
        0 => Ending::Quiet,
        1 => Ending::Drain,
        2 => Ending::Close,
        3 => Ending::Drop,
        _ => Ending::Cut,
    };
    let clients_doing = rng.random();
    // Short and long lives are equally likely, on a logarithmic scale.
    let life = Duration::from_millis(rng.random_range(10..40) << rng.random_range(0..7));
    let story = format!("{wire:?}, TLS {tls}, {ending:?} by the client {clients_doing}");

    let Link { client, server, cut } = world.connect(wire, tls, ending == Ending::Cut).await?;
    count(&tally.connections, 1);
    let fate = Arc::new(Fate::default());
    let mut client = End::start(client, &mut rng, &fate, &tally);
    let mut server = End::start(server, &mut rng, &fate, &tally);
    let error = tokio::select! {
        error = client.watch() => Some(error),
        error = server.watch() => Some(error),
        () = sleep_until((Instant::now() + life).min(until).into()) => None,
    };
    if let Some(error) = error {
        let [client, server] =
            [&client, &server].map(|end| (end.connection.close_reason(), end.connection.stats()));
        return Err(error.context(format!("{story}: {client:?}, {server:?}")));
    }
    let (actor, other) = if clients_doing { (client, server) } else { (server, client) };
    count(&tally.resumptions, actor.connection.session_stats().resumptions);
    end(ending, cut, world.kills(), actor, other, &fate).await.context(story)
}

async fn end(
    ending: Ending,
    cut: Option<tokio::task::AbortHandle>,
    kills: bool,
    mut actor: End,
    mut other: End,
    fate: &Fate,
) -> Result<()> {
    let closed = async |connection: &WebSocketConnection| {
        timeout(PATIENCE, connection.closed()).await.context("the end does not come")
    };
    if ending == Ending::Quiet {
        fate.quiet.store(true, Ordering::Relaxed);
        join(&mut actor.openers, "quiet").await?;
        join(&mut other.openers, "quiet").await?;
        no_streams(&actor.connection).await?;
        no_streams(&other.connection).await?;
    }
    fate.ending.store(true, Ordering::Relaxed);
    match ending {
        Ending::Quiet | Ending::Close => actor.connection.close(77u32.into(), b"enough"),
        Ending::Drain => {
            let connection = actor.connection.clone();
            connection.drain();
            // This task keeps a handle, so that the connection is not closed before it has drained.
            drop(tokio::spawn(async move { connection.closed().await }));
        }
        Ending::Cut => cut.context("a network that can be cut")?.abort(),
        Ending::Drop => {
            actor.openers.abort_all();
            actor.acceptors.abort_all();
        }
    }
    let actors = if ending == Ending::Drop {
        join(&mut actor.openers, "drop").await?;
        join(&mut actor.acceptors, "drop").await?;
        drop(actor);
        None
    } else {
        let reason = closed(&actor.connection).await?;
        join(&mut actor.openers, "the actor's streams").await?;
        join(&mut actor.acceptors, "the actor's streams").await?;
        Some(reason)
    };
    let others = closed(&other.connection).await?;
    join(&mut other.openers, "the other's streams").await?;
    join(&mut other.acceptors, "the other's streams").await?;

    let code = |error: &ConnectionError| match error {
        ConnectionError::ApplicationClosed(close) => Some(close.error_code.into_inner()),
        _ => None,
    };
    match (ending, &actors, &others) {
        (Ending::Cut, Some(ConnectionError::SocketLost(_)), ConnectionError::SocketLost(_)) => {
            Ok(())
        }
        (Ending::Drop, None, other) if code(other) == Some(0) => Ok(()),
        (Ending::Drain, Some(ConnectionError::LocallyClosed), other) if code(other) == Some(0) => {
            Ok(())
        }
        (Ending::Quiet | Ending::Close, Some(ConnectionError::LocallyClosed), other)
            if code(other) == Some(77) =>
        {
            Ok(())
        }
        // The close may be lost together with the socket. Then the other end reports the lost
        // socket, if the client does not come back.
        (_, None | Some(ConnectionError::LocallyClosed), ConnectionError::SocketLost(_))
            if kills =>
        {
            Ok(())
        }
        _ => bail!("it ended with {actors:?} and {others:?}"),
    }
}

/// Waits until this end has no streams left. When this is called, the last messages of the streams
/// may still be in flight.
async fn no_streams(connection: &WebSocketConnection) -> Result<()> {
    let start = Instant::now();
    loop {
        let stats = connection.stats();
        if stats.live_streams == 0 && stats.send_buffered == 0 && stats.window_growth == 0 {
            return Ok(());
        }
        ensure!(start.elapsed() < PATIENCE, "{:?}: left: {stats:?}", connection.side());
        sleep(Duration::from_millis(5)).await;
    }
}
