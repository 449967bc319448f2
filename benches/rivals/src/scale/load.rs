//! Measures the points of all factors except cores. Client and server each have a core of their
//! own.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use tokio::task::JoinSet;

use super::factor::Factor;
use crate::{
    backends::{Connection, Rival, Stream},
    meter::{Meter, percentiles},
    outcome::{Metric, Metrics},
    peer::{COUNT, HOLD, MIRROR, read_exact},
    workloads::{bulk::expect_count, crowd, greet, open, resident, rpc::Call},
};

/// How many calls are in progress at a time.
pub const AT_ONCE: u64 = 64;
/// How many round trips are made before the clock starts. These round trips open the windows.
const WARM_UP: usize = 20;
/// The memory of fewer streams or connections than this is not reported. It could not be
/// distinguished from the memory that the allocator keeps for other purposes.
const COUNTED: u64 = 1_000;

pub async fn run<R: Rival>(
    rival: R,
    meter: &Meter,
    factor: Factor,
    at: u64,
    time: Duration,
) -> Result<Metrics> {
    // The rival is never dropped, because it serves until the process ends.
    let rival: &'static R = Box::leak(Box::new(rival));
    let connection = rival.connect().await?;
    Call::Small.make(&connection).await?;
    match factor {
        Factor::IdleConnections => {
            let one = move || connection_after_a_call(rival);
            let (_kept, memory) = crowd_of(at, one).await?;
            Ok(with(memory, calls(vec![connection], meter, time).await?))
        }
        Factor::BusyConnections => {
            let (all, _) = crowd_of(at, move || connection_after_a_call(rival)).await?;
            calls(all, meter, time).await
        }
        Factor::IdleStreams => {
            let opener = connection.clone();
            let one = move || {
                let opener = opener.clone();
                async move { greet(&opener, HOLD).await }
            };
            let (_kept, memory) = crowd_of(at, one).await?;
            Ok(with(memory, calls(vec![connection], meter, time).await?))
        }
        Factor::Writes => writes(&connection, meter, at, time).await,
        Factor::Messages => messages(&connection, at, time).await,
        Factor::PerCore | Factor::MultiThread => {
            bail!("the factor of cores has no load of its own")
        }
    }
}

fn with(memory: Option<f64>, mut metrics: Metrics) -> Metrics {
    metrics.extend(memory.map(|bytes| (Metric::BytesEach, bytes)));
    metrics
}

async fn connection_after_a_call<R: Rival>(rival: &'static R) -> Result<R::Connection> {
    let connection = rival.connect().await?;
    Call::Small.make(&connection).await?;
    Ok(connection)
}

/// Makes streams or connections, and returns them. Also returns how much memory each of them takes
/// at both ends.
async fn crowd_of<T, F>(
    count: u64,
    one: impl Fn() -> F + Clone + Send + 'static,
) -> Result<(Vec<T>, Option<f64>)>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    // If `count` is a number of streams, this reserves more sockets than needed, which does no
    // harm.
    crowd::reserve(count)?;
    // Half of the objects are made before the measurement. So memory that is needed only once, such
    // as pages of code, is not counted for each object.
    let first = count / 2;
    let mut kept = crowd::make(first, one.clone()).await?;
    let before = resident()?;
    kept.extend(crowd::make(count - first, one).await?);
    let each = (resident()? - before) / (count - first) as f64;
    Ok((kept.into_iter().flatten().collect(), (count >= COUNTED).then_some(each)))
}

/// Makes calls, each on a stream of its own. Each caller uses its connections in turn.
async fn calls<C: Connection>(
    connections: Vec<C>,
    meter: &Meter,
    time: Duration,
) -> Result<Metrics> {
    let watch = meter.start().await?;
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for caller in 0..AT_ONCE as usize {
        let count = connections.len();
        // Each connection belongs to one caller, unless there are fewer connections than callers.
        let own = (caller..count.max(caller + 1)).step_by(AT_ONCE as usize);
        let own: Vec<_> = own.map(|index| connections[index % count].clone()).collect();
        tasks.spawn(async move {
            let mut calls = 0;
            for connection in own.iter().cycle() {
                if start.elapsed() > time {
                    break;
                }
                Call::Small.make(connection).await?;
                calls += 1;
            }
            anyhow::Ok(calls)
        });
    }
    let mut calls = 0;
    while let Some(done) = tasks.join_next().await {
        calls += done??;
    }
    Ok(watch.stop().await?.of_calls(calls))
}

/// Sends the data of one stream in writes of the given size. The data is copied, as with any
/// `AsyncWrite`.
async fn writes<C: Connection>(
    connection: &C,
    meter: &Meter,
    size: u64,
    time: Duration,
) -> Result<Metrics> {
    /// How many bytes are written between two readings of the clock. Reading the clock takes as
    /// long as a write.
    const BETWEEN_LOOKS: u64 = 1024 * 1024;

    let data = vec![0x5a; size as usize];
    let mut stream = open(connection, COUNT).await?;
    let watch = meter.start().await?;
    let mut sent = 0;
    while watch.elapsed() < time {
        for _ in 0..BETWEEN_LOOKS.div_ceil(size) {
            stream.write(&data).await?;
            sent += size;
        }
    }
    expect_count(&mut stream, sent).await?;
    Ok(watch.stop().await?.of_bytes(sent))
}

/// Sends messages of this size one after another. Each message waits for the echo of the previous
/// message.
async fn messages<C: Connection>(connection: &C, size: u64, time: Duration) -> Result<Metrics> {
    let message = vec![0x5a; size as usize];
    let mut echo = vec![0; size as usize];
    let mut stream = greet(connection, MIRROR).await?;
    for _ in 0..WARM_UP {
        round_trip(&mut stream, &message, &mut echo).await?;
    }
    let (start, mut times) = (Instant::now(), Vec::new());
    while start.elapsed() < time {
        times.push(round_trip(&mut stream, &message, &mut echo).await?);
    }
    ensure!(echo == message, "a wrong echo");
    Ok(percentiles(times))
}

async fn round_trip<S: Stream>(
    stream: &mut S,
    message: &[u8],
    echo: &mut [u8],
) -> Result<Duration> {
    let start = Instant::now();
    stream.write(message).await?;
    stream.flush().await?;
    read_exact(stream, echo).await?;
    Ok(start.elapsed())
}
