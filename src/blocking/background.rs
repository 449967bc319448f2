//! The background thread that runs the drivers.

use std::{
    convert::Infallible,
    io,
    sync::mpsc::{SyncSender, sync_channel},
    thread::{self, JoinHandle},
};

use tokio::{
    runtime::{Builder, Handle},
    sync::mpsc,
};

use super::wait;

tokio::task_local! {
    /// The background for the future that this thread is polling now. It runs the tasks that this
    /// future spawns.
    static CURRENT: Background;
}

/// Keeps the current background alive, if there is one, until this new connection has ended. The
/// background is needed because the connection's driver runs there. This function is called for
/// every new connection, including those whose handshake fails later.
pub(crate) fn carry(connection: &crate::connection::WebSocketConnection) {
    let _ = CURRENT.try_with(|background| background.carry(connection));
}

/// A handle of a background thread with a runtime. The thread ends once the last clone of the
/// handle has been dropped and every connection that was made within a call of [`wait`](Self::wait)
/// has ended. The thread does not wait for other tasks, because a task that a hook has spawned may
/// never end.
#[derive(Debug, Clone)]
pub(super) struct Background {
    runtime: Handle,
    /// Nothing is ever sent over this channel. The thread ends when all its senders have been
    /// dropped.
    alive: mpsc::Sender<Infallible>,
}

impl Background {
    pub(super) fn start() -> io::Result<Self> {
        Ok(Self::start_thread()?.0)
    }

    fn start_thread() -> io::Result<(Self, JoinHandle<()>)> {
        let (sender, started) = sync_channel(1);
        // Linux shows at most 15 characters of a thread's name.
        let thread = thread::Builder::new().name("wsmux-blocking".into()).spawn(|| run(sender))?;
        let background = started.recv().map_err(io::Error::other)??;
        Ok((background, thread))
    }

    /// Waits for a future that needs a runtime. The future runs on the calling thread; the tasks
    /// that it spawns run in the background.
    pub(super) fn wait<F: Future>(&self, future: F) -> F::Output {
        let _context = self.runtime.enter();
        wait::wait(CURRENT.scope(self.clone(), future))
    }

    /// Keeps the thread alive until this connection has ended, because the connection's driver runs
    /// there.
    fn carry(&self, connection: &crate::connection::WebSocketConnection) {
        let (gone, alive) = (connection.gone(), self.alive.clone());
        self.runtime.spawn(async move {
            gone.await;
            drop(alive);
        });
    }
}

/// Makes the runtime, keeps it until the background ends, and drops it. All of this happens on the
/// runtime's own thread, because dropping a runtime on a thread of another runtime panics.
fn run(started: SyncSender<io::Result<Background>>) {
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return drop(started.send(Err(error))),
    };
    let (alive, mut gone) = mpsc::channel(1);
    let background = Background { runtime: runtime.handle().clone(), alive };
    if started.send(Ok(background)).is_err() {
        return;
    }
    runtime.block_on(gone.recv());
    // `shutdown_background` does not wait for root certificates that are still being read, nor for
    // tasks that a hook has spawned.
    runtime.shutdown_background();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        connection::{ConnectionInfo, WebSocketConnection},
        socket::{MemorySocket, memory_pair},
    };
    use wsmux_proto::{Config, ConnectionError, Side, VarInt, Wire};

    fn connection(
        background: &Background,
        socket: MemorySocket,
        side: Side,
    ) -> WebSocketConnection {
        let (config, info) = (Config::default(), ConnectionInfo::default());
        let make =
            async { WebSocketConnection::from_socket(socket, side, Wire::QMux, config, info) };
        background.wait(make)
    }

    #[test]
    fn the_thread_ends_with_the_last_clone() {
        let (background, thread) = Background::start_thread().unwrap();
        let clone = background.clone();
        drop(background);
        assert_eq!(clone.wait(async { tokio::spawn(async { 1 }).await.unwrap() }), 1);
        drop(clone);
        thread.join().unwrap();
    }

    #[test]
    fn the_thread_outlives_its_handle_by_the_life_of_its_connections() {
        let (left, right) = memory_pair(1024);
        let (background, thread) = Background::start_thread().unwrap();
        let client = connection(&background, left, Side::Client);
        drop(background);
        let (other, other_thread) = Background::start_thread().unwrap();
        let server = connection(&other, right, Side::Server);
        drop(other);

        wait::wait(client.established()).unwrap();
        assert!(!thread.is_finished());
        client.close(VarInt::from_u32(7), b"bye");
        let seen = wait::wait(server.closed());
        assert!(matches!(seen, ConnectionError::ApplicationClosed(_)), "{seen}");
        for thread in [thread, other_thread] {
            thread.join().unwrap();
        }
        drop((client, server));
    }

    #[test]
    fn the_last_drop_still_tells_the_peer() {
        let (left, right) = memory_pair(1024);
        let (background, thread) = Background::start_thread().unwrap();
        let client = connection(&background, left, Side::Client);
        let other = Background::start().unwrap();
        let server = connection(&other, right, Side::Server);
        wait::wait(client.established()).unwrap();
        drop((client, background));
        let seen = wait::wait(server.closed());
        assert!(matches!(seen, ConnectionError::ApplicationClosed(_)), "{seen}");
        thread.join().unwrap();
    }

    #[test]
    fn a_task_that_never_ends_does_not_keep_the_thread() {
        let (left, right) = memory_pair(1024);
        let (background, thread) = Background::start_thread().unwrap();
        let (dropped, gone) = std::sync::mpsc::channel::<Infallible>();
        // During the handshake, a hook may spawn a task that never ends.
        background.wait(async {
            tokio::spawn(async move {
                let _dropped = dropped;
                std::future::pending::<()>().await;
            });
        });
        let client = connection(&background, left, Side::Client);
        let other = Background::start().unwrap();
        let server = connection(&other, right, Side::Server);
        drop(background);
        wait::wait(client.established()).unwrap();
        assert!(!thread.is_finished(), "a connection is there");
        drop(client);
        wait::wait(server.closed());
        let gone = gone.recv_timeout(std::time::Duration::from_secs(60));
        assert_eq!(gone, Err(std::sync::mpsc::RecvTimeoutError::Disconnected), "the task is there");
        thread.join().unwrap();
    }
}
