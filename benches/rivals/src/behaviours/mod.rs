//! Shows how each mux behaves in its default configuration when readers stop, streams are dropped
//! and connections end. Each cell of the table is what one process saw, not what the source code
//! says.

mod ending;
mod overrun;
mod relay;
mod seen;
pub mod server;
mod stopped;
mod table;
mod unread;

use std::{net::SocketAddr, time::Duration};

use anyhow::Result;
use clap::ValueEnum;

use crate::{
    backends::{Connection, Rival, Stream},
    peer::{SHOW, read_exact},
    watchdog,
};

pub use overrun::Raw;
pub use seen::Seen;
pub use table::run;

/// Something counts as never happening if it has not happened after this time. Over loopback, every
/// backend needs only a small part of this time.
const NEVER: Duration = Duration::from_secs(3);

/// The behaviours that are shown, in the order of the table's rows. The last words of some rows,
/// such as "at the reader", name the end that is observed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Behaviour {
    /// what a stopped reader's stream accepts
    Taken1,
    /// what the streams of 32 stopped readers accept together
    Taken32,
    /// stopped by 1 stopped reader
    Stopped1,
    /// stopped by 4 stopped readers
    Stopped4,
    /// stopped by 8 stopped readers
    Stopped8,
    /// stopped by 32 stopped readers
    Stopped32,
    /// stopped by 8 readers that each stop after 8 MiB, with a round trip of 100 ms
    StoppedLater,
    /// stopped by 8 receivers that were dropped with unread data
    DroppedUnread,
    /// stopped by streams that the application does not accept
    Unaccepted,
    /// the limit on streams
    Limit,
    /// data above the credit
    Overrun,
    /// a stream dropped unfinished, at its reader
    DroppedSender,
    /// a stream dropped by its reader, at its writer
    DroppedReceiver,
    /// a stream whose reader finishes its own half and then drops the stream, at the writer
    DroppedAfterEnd,
    /// 128 KiB, the end of the stream and a close at once, at the reader
    CloseFinished,
    /// the same with the close that sends everything first, at the reader
    DrainFinished,
    /// a close beside an unfinished stream, at the reader
    CloseUnfinished,
    /// a close after all data has arrived and before it is read, at the reader
    CloseUnread,
    /// a connection cut beside an unfinished stream, at the reader
    Cut,
}

impl Behaviour {
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    fn about(self) -> String {
        let value = self.to_possible_value();
        value.and_then(|value| value.get_help().map(ToString::to_string)).unwrap_or_default()
    }
}

/// A rival whose behaviours can be shown.
pub trait Shown: Rival {
    /// The address on which the server listens.
    fn address(&self) -> SocketAddr;
    /// Makes later connections go to this address.
    fn set_address(&mut self, address: SocketAddr);
    /// The protocol of the server, for a client that breaks its rules.
    fn raw(&self) -> Raw;
    /// Whether an application can leave streams unaccepted while it uses other streams.
    fn may_leave_streams(&self) -> bool {
        true
    }
}

/// Runs one behaviour on a rival that has just been started.
pub async fn show<R: Shown>(mut rival: R, behaviour: Behaviour) -> Result<Seen> {
    let raw = rival.raw();
    let address = rival.address();
    let relay = relay::start(&mut rival, behaviour == Behaviour::StoppedLater).await?;
    // The rival is never dropped, because it serves until the process ends.
    let rival: &'static R = Box::leak(Box::new(rival));
    if behaviour == Behaviour::Overrun {
        return overrun::run(raw, address).await;
    }
    if behaviour == Behaviour::Unaccepted && !rival.may_leave_streams() {
        return Ok(Seen::NotPossible);
    }
    let connection = rival.connect().await?;
    match behaviour {
        Behaviour::Taken1 => stopped::taken(&connection, 1).await,
        Behaviour::Taken32 => stopped::taken(&connection, 32).await,
        Behaviour::Stopped1 => stopped::others(&connection, 1).await,
        Behaviour::Stopped4 => stopped::others(&connection, 4).await,
        Behaviour::Stopped8 => stopped::others(&connection, 8).await,
        Behaviour::Stopped32 => stopped::others(&connection, 32).await,
        Behaviour::StoppedLater => stopped::later(&connection, 8).await,
        Behaviour::DroppedUnread => unread::dropped(&connection, 8).await,
        Behaviour::Unaccepted => unread::unaccepted(&connection).await,
        Behaviour::Limit => unread::limit(&connection).await,
        Behaviour::Overrun => unreachable!("returned above"),
        Behaviour::DroppedSender => ending::dropped_sender(&connection).await,
        Behaviour::DroppedReceiver => ending::dropped_receiver(&connection, server::DROP).await,
        Behaviour::DroppedAfterEnd => {
            ending::dropped_receiver(&connection, server::FINISH_AND_DROP).await
        }
        Behaviour::CloseFinished => ending::close_finished(connection).await,
        Behaviour::DrainFinished => ending::drain_finished(connection).await,
        Behaviour::CloseUnfinished => ending::close_unfinished(connection).await,
        Behaviour::CloseUnread => ending::close_unread(connection).await,
        Behaviour::Cut => ending::cut(connection, relay).await,
    }
}

/// Returns the result of `work`, or `None` if it takes longer than [`NEVER`].
async fn in_time<T>(work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        done = work => Some(done),
        () = watchdog::running(NEVER) => None,
    }
}

/// Opens a stream for one of the commands of [`server`].
async fn open<C: Connection>(connection: &C, command: u8) -> Result<C::Stream> {
    let mut stream = connection.open().await?;
    stream.write(&[SHOW, command]).await?;
    stream.flush().await?;
    Ok(stream)
}

/// Opens a stream for a command, and waits until the server runs the command.
async fn greet<C: Connection>(connection: &C, command: u8) -> Result<C::Stream> {
    let mut stream = open(connection, command).await?;
    read_exact(&mut stream, &mut [0]).await?;
    Ok(stream)
}
