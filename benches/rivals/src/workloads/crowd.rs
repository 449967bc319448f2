//! Makes and keeps many streams or connections, several at a time.

use anyhow::{Result, ensure};
use tokio::task::JoinSet;

use super::greet;
use crate::{
    backends::{Connection, Rival},
    watchdog,
};

/// How many streams or connections are made at a time. With this number, the ends always have work
/// during the round trips of a handshake.
const AT_ONCE: u64 = 32;
/// How many file descriptors are reserved for each pair of sockets. There are two sockets, and zmux
/// keeps a second descriptor for each of them.
const FOR_EACH_PAIR: u64 = 4;

/// How many file descriptors are reserved in addition to the file descriptors of the sockets.
const SPARE: u64 = 200;

/// Raises the limit on file descriptors so that `sockets` pairs of sockets can be open, as far as
/// the system permits. Returns how many of these pairs can be open.
pub fn reserve(sockets: u64) -> Result<u64> {
    let (_, hard) = rlimit::Resource::NOFILE.get()?;
    let wanted = FOR_EACH_PAIR * sockets + SPARE;
    if wanted <= hard || rlimit::Resource::NOFILE.set(wanted, wanted).is_err() {
        rlimit::Resource::NOFILE.set(wanted.min(hard), hard)?;
    }
    let got = rlimit::Resource::NOFILE.get_soft()?;
    Ok(sockets.min(got.saturating_sub(SPARE) / 2))
}

/// Reserves sockets as [`reserve`] does, and fails if the system permits fewer pairs.
pub fn reserve_all(sockets: u64) -> Result<()> {
    let got = reserve(sockets)?;
    ensure!(got == sockets, "file descriptors for {got} of {sockets} sockets");
    Ok(())
}

/// Makes `count` objects in several tasks, and returns one list from each task. The lists are not
/// joined into one. Otherwise the allocator would keep the freed lists, and some workloads would
/// count that memory.
pub async fn make<T, F>(
    count: u64,
    one: impl Fn() -> F + Clone + Send + 'static,
) -> Result<Vec<Vec<T>>>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    for maker in 0..AT_ONCE {
        let one = one.clone();
        let share = count / AT_ONCE + u64::from(maker < count % AT_ONCE);
        tasks.spawn(async move {
            let mut made = Vec::new();
            for _ in 0..share {
                made.push(one().await?);
                watchdog::progress();
            }
            anyhow::Ok(made)
        });
    }
    let mut all = Vec::new();
    while let Some(made) = tasks.join_next().await {
        all.push(made??);
    }
    Ok(all)
}

/// A stream that the server has answered once, together with the stream's connection.
#[derive(Debug)]
pub struct Member<C: Connection> {
    pub stream: C::Stream,
    /// The connection is kept here so that it stays open.
    _connection: C,
}

impl<C: Connection> Member<C> {
    async fn join(connection: C, command: u8) -> Result<Self> {
        Ok(Self { stream: greet(&connection, command).await?, _connection: connection })
    }
}

/// Opens streams on one connection. Sends the command on each stream, and waits until the server
/// has sent it back.
pub async fn on_one<C: Connection>(
    connection: &C,
    count: u64,
    command: u8,
) -> Result<Vec<Member<C>>> {
    let connection = connection.clone();
    let made = make(count, move || Member::join(connection.clone(), command)).await?;
    Ok(made.into_iter().flatten().collect())
}

/// Does the same as [`on_one`], with each stream on a connection of its own.
pub async fn on_many<R: Rival>(
    rival: &'static R,
    count: u64,
    command: u8,
) -> Result<Vec<Member<R::Connection>>> {
    let one = move || async move { Member::join(rival.connect().await?, command).await };
    Ok(make(count, one).await?.into_iter().flatten().collect())
}
