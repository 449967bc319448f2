//! The streams of one connection, of every kind and from both ends. The first bytes of a stream
//! contain its opener's plan, so that the acceptor knows which outcome to expect.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use anyhow::{Result, bail};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use wsmux::{ReadError, RecvStream, SendStream, WebSocketConnection, Wire, WriteError};

use super::{
    lives::Fate,
    script::{End, HEADER, KINDS, Kind, ONE_WAY, Script, Wrong, ends, must},
    tally::{Tally, count},
};
use crate::pattern;

const HANGS: Duration = Duration::from_secs(120);

struct Player {
    connection: WebSocketConnection,
    fate: Arc<Fate>,
    tally: Arc<Tally>,
    rng: StdRng,
}

/// Opens streams one after another.
pub async fn open_many(
    connection: WebSocketConnection,
    rng: StdRng,
    fate: Arc<Fate>,
    tally: Arc<Tally>,
) -> Result<()> {
    let mut player = Player { connection, fate, tally, rng };
    while player.fate.goes_on() {
        let outcome = timeout(HANGS, player.open()).await;
        let outcome = outcome.unwrap_or_else(|_| Err(Wrong("a stream hangs".to_owned()).into()));
        player.fate.clone().judge(&player.tally, outcome)?;
    }
    Ok(())
}

/// Accepts the other end's streams and datagrams until the connection ends, and follows each stream
/// to its end.
pub async fn accept_all(
    connection: WebSocketConnection,
    mut rng: StdRng,
    fate: Arc<Fate>,
    tally: Arc<Tally>,
) -> Result<()> {
    let mut streams = JoinSet::new();
    loop {
        let mut player = Player {
            connection: connection.clone(),
            fate: fate.clone(),
            tally: tally.clone(),
            rng: rng.fork(),
        };
        // Each time one of these futures is ready, the others are dropped.
        tokio::select! {
            Some(done) = streams.join_next() => { done??; }
            stream = connection.accept_bi() => {
                let Ok(stream) = stream else { break };
                let (send, recv) = stream.into_split();
                streams.spawn(async move { player.accept(Some(send), recv).await });
            }
            stream = connection.accept_uni() => {
                let Ok(recv) = stream else { break };
                streams.spawn(async move { player.accept(None, recv).await });
            }
            datagram = connection.read_datagram() => {
                let Ok(datagram) = datagram else { break };
                player.check_datagram(&datagram)?;
            }
        }
    }
    if !fate.ending.load(Ordering::Relaxed) {
        bail!("the connection ended by itself: {:?}", connection.close_reason());
    }
    while let Some(done) = streams.join_next().await {
        done??;
    }
    Ok(())
}

impl Player {
    async fn open(&mut self) -> Result<()> {
        let qmux = self.connection.wire() == Wire::QMux;
        if qmux && self.rng.random_ratio(1, 8) {
            self.send_datagram()?;
        }
        if qmux && self.rng.random_ratio(1, 4) {
            let script = Script::random(&mut self.rng, &ONE_WAY);
            let mut send = self.connection.open_uni().await?;
            self.send(script, &mut send).await
        } else {
            let script = Script::random(&mut self.rng, &KINDS);
            let (mut send, mut recv) = self.open_bi().await?;
            let mut reader = self.fork();
            let write = async {
                let sent = self.send(script, &mut send).await;
                // In some plans, dropping the handle ends the half.
                drop(send);
                sent
            };
            let answer = reader.answer(script, &mut recv);
            tokio::try_join!(write, answer).map(drop)
        }
    }

    async fn open_bi(&mut self) -> Result<(SendStream, RecvStream)> {
        loop {
            if self.drops_future() {
                // If the timeout drops the future, there are two cases: either no stream was
                // opened, or the drop has also dropped the stream and so reset it.
                let moment = self.moment();
                let opened = timeout(moment, self.connection.open_bi()).await;
                if let Ok(stream) = opened {
                    return Ok(stream?.into_split());
                }
                count(&self.tally.dropped, 1);
            } else {
                return Ok(self.connection.open_bi().await?.into_split());
            }
        }
    }

    fn fork(&mut self) -> Self {
        Self {
            connection: self.connection.clone(),
            fate: self.fate.clone(),
            tally: self.tally.clone(),
            rng: self.rng.fork(),
        }
    }

    fn drops_future(&mut self) -> bool {
        self.rng.random_ratio(1, 8)
    }

    fn moment(&mut self) -> Duration {
        Duration::from_micros(self.rng.random_range(0..2_000))
    }

    // ---- the opener ----

    async fn send(&mut self, script: Script, send: &mut SendStream) -> Result<()> {
        if self.rng.random() {
            let _ = send.set_priority(self.rng.random_range(-2..=2));
        }
        let Script { seed, len, cut, .. } = script;
        let header = send.write_chunk(script.header()).await;
        let (to, finishes) = match script.kind {
            Kind::Source | Kind::SourceReset | Kind::SourceStop => (0, true),
            Kind::Reset | Kind::DropSend => (cut, false),
            _ => (len, true),
        };
        let written = match header {
            Ok(()) => self.write(send, seed, to).await,
            Err(error) => Err(error),
        };
        match (script.kind, written) {
            (Kind::Reset, Ok(())) => Ok(send.reset(script.code())?),
            (Kind::Stop, Err(WriteError::Stopped(code))) if code == script.code() => Ok(()),
            (Kind::DropRecv, Err(WriteError::Stopped(code))) if code.into_inner() == 0 => Ok(()),
            (Kind::Stop | Kind::DropRecv, Ok(())) => match send.finish() {
                // The request to stop arrived during the write.
                Err(WriteError::Stopped(_)) => Ok(()),
                done => Ok(done?),
            },
            // An acceptor that only sends may finish and drop the stream before this end does.
            (Kind::Source | Kind::SourceReset | Kind::SourceStop, Ok(())) => match send.finish() {
                Ok(()) | Err(WriteError::Stopped(_)) => Ok(()),
                Err(error) => Err(error.into()),
            },
            (_, Ok(())) if finishes => Ok(send.finish()?),
            (_, written) => Ok(written?),
        }
    }

    async fn answer(&mut self, script: Script, recv: &mut RecvStream) -> Result<()> {
        let Script { kind, seed, len, cut } = script;
        match kind {
            Kind::Echo | Kind::Source => {
                let done = self.read(recv, seed, u64::MAX).await?;
                ends(script, done, |read, end| (read, end) == (len, &End::Fin))?;
            }
            Kind::Count | Kind::Stall => {
                let mut counted = [0; 8];
                recv.read_exact(&mut counted).await?;
                let counted = u64::from_be_bytes(counted);
                must(counted == len, || format!("{script:?}: {counted} bytes came"))?;
                must(recv.read_chunk(1).await?.is_none(), || "more than a count".to_owned())?;
            }
            Kind::SourceReset => {
                let done = self.read(recv, seed, u64::MAX).await?;
                let reset = End::Reset(script.code());
                ends(script, done, |read, end| read <= cut && *end == reset)?;
            }
            Kind::SourceStop => {
                let done = self.read(recv, seed, cut).await?;
                ends(script, done, |read, end| match end {
                    End::Enough => read == cut,
                    End::Fin => read == len,
                    End::Reset(_) => false,
                })?;
                // The half may have ended already. Then there is nothing to stop.
                let _ = recv.stop(script.code());
            }
            // The acceptor drops its sending half without using it.
            Kind::Reset | Kind::DropSend | Kind::Stop | Kind::DropRecv => {
                let done = self.read(recv, seed, u64::MAX).await?;
                ends(script, done, |read, end| read == 0 && *end == End::Reset(0u32.into()))?;
            }
        }
        Ok(())
    }

    // ---- the acceptor ----

    async fn accept(&mut self, send: Option<SendStream>, recv: RecvStream) -> Result<()> {
        let outcome = timeout(HANGS, self.serve(send, recv)).await;
        let outcome = outcome.unwrap_or_else(|_| Err(Wrong("a stream hangs".to_owned()).into()));
        self.fate.clone().judge(&self.tally, outcome)
    }

    async fn serve(&mut self, send: Option<SendStream>, mut recv: RecvStream) -> Result<()> {
        let mut header = [0; HEADER];
        let mut filled = 0;
        while filled < HEADER {
            match recv.read(&mut header[filled..]).await {
                Ok(Some(read)) => filled += read,
                Ok(None) => must(false, || format!("an end after {filled} bytes of the header"))?,
                // A stream may be reset before its plan has arrived.
                Err(ReadError::Reset(_)) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        let script = Script::parse(header)?;
        let Script { kind, seed, len, cut } = script;
        match (kind, send) {
            (Kind::Echo, Some(send)) => self.echo(script, send, recv).await,
            (Kind::Count | Kind::Stall, send) => {
                let mut at = 0;
                if kind == Kind::Stall {
                    at = self.read(&mut recv, seed, cut).await?.0;
                    let stall = self.rng.random_range(0..60);
                    // One stall in sixty is long.
                    let stall = if stall == 0 { 1_000 } else { stall };
                    sleep(Duration::from_millis(stall)).await;
                }
                let done = self.read_from(&mut recv, seed, at, u64::MAX).await?;
                let read = ends(script, done, |read, end| (read, end) == (len, &End::Fin))?;
                if let Some(mut send) = send {
                    send.write_all(&read.to_be_bytes()).await?;
                    send.finish()?;
                }
                Ok(())
            }
            (Kind::Source, Some(mut send)) => {
                self.write(&mut send, seed, len).await?;
                Ok(send.finish()?)
            }
            (Kind::SourceReset, Some(mut send)) => {
                self.write(&mut send, seed, cut).await?;
                Ok(send.reset(script.code())?)
            }
            (Kind::SourceStop, Some(mut send)) => match self.write(&mut send, seed, len).await {
                Ok(()) => match send.finish() {
                    Ok(()) | Err(WriteError::Stopped(_)) => Ok(()),
                    Err(error) => Err(error.into()),
                },
                Err(WriteError::Stopped(code)) if code == script.code() => Ok(()),
                Err(error) => Err(error.into()),
            },
            (Kind::Reset | Kind::DropSend, _) => {
                let done = self.read(&mut recv, seed, u64::MAX).await?;
                let code = if kind == Kind::Reset { script.code() } else { 0u32.into() };
                ends(script, done, |read, end| read <= cut && *end == End::Reset(code)).map(drop)
            }
            (Kind::Stop | Kind::DropRecv, _) => {
                let done = self.read(&mut recv, seed, cut).await?;
                ends(script, done, |read, end| match end {
                    End::Enough => read == cut,
                    End::Fin => read == len,
                    End::Reset(_) => false,
                })?;
                if kind == Kind::Stop {
                    let _ = recv.stop(script.code());
                }
                Ok(())
            }
            (_, None) => Ok(must(false, || format!("{script:?} on a stream of one way"))?),
        }
    }

    async fn echo(
        &mut self,
        script: Script,
        mut send: SendStream,
        mut recv: RecvStream,
    ) -> Result<()> {
        let mut at = 0;
        while let Some(chunk) = recv.read_chunk(usize::MAX).await? {
            self.check(script.seed, at, &chunk)?;
            at += chunk.len() as u64;
            send.write_chunk(chunk).await?;
        }
        must(at == script.len, || format!("{script:?}: an end after {at}"))?;
        Ok(send.finish()?)
    }

    // ---- bytes ----

    fn check(&self, seed: u64, at: u64, data: &[u8]) -> Result<(), Wrong> {
        count(&self.tally.bytes, data.len() as u64);
        pattern::check(seed, at, data).map_err(|error| Wrong(format!("{error:#}")))
    }

    /// Writes the first `to` bytes of the stream, in pieces of every size and with every method.
    /// Drops some of the futures.
    async fn write(&mut self, send: &mut SendStream, seed: u64, to: u64) -> Result<(), WriteError> {
        let mut at = 0;
        while at < to {
            let piece = 1 + (self.rng.random_range(0..65_536) >> self.rng.random_range(0..12));
            let chunk = pattern::bytes(seed, at, piece.min(to - at));
            let len = chunk.len() as u64;
            at += match self.rng.random_range(0..8) {
                0 => {
                    let moment = self.moment();
                    match timeout(moment, send.write(&chunk)).await {
                        Ok(taken) => taken? as u64,
                        Err(_) => {
                            count(&self.tally.dropped, 1);
                            0
                        }
                    }
                }
                1 => send.write(&chunk).await? as u64,
                2 => {
                    let moment = self.moment();
                    match timeout(moment, send.write_chunk(chunk)).await {
                        Ok(taken) => taken.map(|()| len)?,
                        Err(_) => {
                            count(&self.tally.dropped, 1);
                            0
                        }
                    }
                }
                _ => send.write_chunk(chunk).await.map(|()| len)?,
            };
        }
        Ok(())
    }

    async fn read(&mut self, recv: &mut RecvStream, seed: u64, to: u64) -> Result<(u64, End)> {
        self.read_from(recv, seed, 0, to).await
    }

    /// Reads from byte `at` to byte `to`, or until the stream ends. Returns the byte at which the
    /// reading stopped, and why it stopped.
    async fn read_from(
        &mut self,
        recv: &mut RecvStream,
        seed: u64,
        mut at: u64,
        to: u64,
    ) -> Result<(u64, End)> {
        while at < to {
            let most = (to - at).min(1 << self.rng.random_range(4..20)) as usize;
            let chunk = if self.drops_future() {
                let moment = self.moment();
                let Ok(chunk) = timeout(moment, recv.read_chunk(most)).await else {
                    count(&self.tally.dropped, 1);
                    continue;
                };
                chunk
            } else {
                recv.read_chunk(most).await
            };
            match chunk {
                Ok(Some(chunk)) => {
                    self.check(seed, at, &chunk)?;
                    at += chunk.len() as u64;
                }
                Ok(None) => return Ok((at, End::Fin)),
                Err(ReadError::Reset(code)) => return Ok((at, End::Reset(code))),
                Err(error) => return Err(error.into()),
            }
        }
        Ok((at, End::Enough))
    }

    // ---- datagrams ----

    fn send_datagram(&mut self) -> Result<()> {
        let seed: u64 = self.rng.random();
        let mut datagram = seed.to_be_bytes().to_vec();
        datagram.extend(pattern::bytes(seed, 0, self.rng.random_range(0..2_000)));
        Ok(self.connection.send_datagram(datagram.into())?)
    }

    fn check_datagram(&self, datagram: &[u8]) -> Result<(), Wrong> {
        let Some((seed, data)) = datagram.split_first_chunk() else {
            return Err(Wrong("a datagram that nobody sent".to_owned()));
        };
        count(&self.tally.datagrams, 1);
        self.check(u64::from_be_bytes(*seed), 0, data)
    }
}
