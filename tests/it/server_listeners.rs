//! What a server does with its listening sockets when it starts and when it ends.

use std::{
    future::Future,
    io,
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    pin::{Pin, pin},
    sync::{Arc, Barrier},
    task::Poll,
    thread,
    time::Duration,
};

use tokio::{
    net::TcpStream,
    runtime::{Handle, Runtime},
    sync::oneshot,
    time::timeout,
};
use wsmux::{Connecting, Listener, WebSocketServer};

const BOUND: Duration = Duration::from_secs(60);

/// A path that is short enough for a Unix socket. Dropping it removes the files.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("wsmux-{}-{name}.sock", std::process::id())))
    }

    fn lock(&self) -> PathBuf {
        let mut path = self.0.clone().into_os_string();
        path.push(".lock");
        path.into()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
        let _ = std::fs::remove_file(self.lock());
    }
}

fn listen(runtime: &Handle, path: &Path) -> io::Result<Listener> {
    let _context = runtime.enter();
    Listener::unix(path)
}

async fn is_ready(future: Pin<&mut impl Future<Output = Option<Connecting>>>) -> bool {
    let mut future = Some(future);
    std::future::poll_fn(|cx| {
        let polled = future.take().map(|future| future.poll(cx).is_ready());
        Poll::Ready(polled.unwrap_or_default())
    })
    .await
}

// ---- Unix sockets ----

#[test]
fn of_servers_started_on_one_path_at_once_exactly_one_listens() {
    let runtime = Runtime::new().unwrap();
    let place = Place::new("start");
    for round in 0..200 {
        if round % 2 == 0 {
            // This socket file remains, as if a process that was killed had left it.
            drop(UnixListener::bind(&place.0).unwrap());
        }
        let barrier = Barrier::new(8);
        let started: Vec<_> = thread::scope(|scope| {
            let start = || {
                barrier.wait();
                listen(runtime.handle(), &place.0)
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(start)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let (listening, failed): (Vec<_>, Vec<_>) = started.into_iter().partition(Result::is_ok);
        assert_eq!(listening.len(), 1, "round {round}: {failed:?}");
        for error in failed.into_iter().map(Result::unwrap_err) {
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "round {round}: {error}");
        }
        UnixStream::connect(&place.0).expect("the one that listens is reached");
        drop(listening);
        assert!(!place.0.exists() && !place.lock().exists(), "round {round}");
    }
}

#[test]
fn a_closing_server_never_removes_its_successors_file() {
    let runtime = Runtime::new().unwrap();
    let place = Place::new("close");
    let mut old = listen(runtime.handle(), &place.0).unwrap();
    for round in 0..1000 {
        let barrier = Barrier::new(2);
        old = thread::scope(|scope| {
            let successor = scope.spawn(|| {
                barrier.wait();
                loop {
                    match listen(runtime.handle(), &place.0) {
                        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                        listening => return listening.unwrap(),
                    }
                }
            });
            barrier.wait();
            drop(old);
            successor.join().unwrap()
        });
        UnixStream::connect(&place.0).unwrap_or_else(|error| panic!("round {round}: {error}"));
    }
}

#[test]
fn a_lock_that_a_killed_server_left_keeps_nobody_out() {
    let runtime = Runtime::new().unwrap();
    let place = Place::new("left");
    std::fs::write(place.lock(), "").unwrap();
    drop(listen(runtime.handle(), &place.0).unwrap());
    assert!(!place.lock().exists());
    // A file that another program has written must not be removed, and a link must not be followed.
    std::fs::write(place.lock(), "4711").unwrap();
    drop(listen(runtime.handle(), &place.0).unwrap());
    assert_eq!(std::fs::read_to_string(place.lock()).unwrap(), "4711");
    std::fs::remove_file(place.lock()).unwrap();
    let elsewhere = Place::new("elsewhere");
    std::os::unix::fs::symlink(&elsewhere.0, place.lock()).unwrap();
    listen(runtime.handle(), &place.0).unwrap_err();
    assert!(!elsewhere.0.exists() && !place.0.exists());
}

// ---- closing ----

#[tokio::test]
async fn close_frees_the_addresses_while_an_accept_is_kept_unpolled() {
    let place = Place::new("free");
    let mut listeners = Listener::tcp(["127.0.0.1:0"]).await.unwrap();
    listeners.push(Listener::unix(&place.0).unwrap());
    let acceptor = WebSocketServer::builder().build().unwrap();
    let server = WebSocketServer::with_listeners(listeners, acceptor);
    let address = server.local_addr().unwrap();
    let mut accept = pin!(server.accept());
    assert!(!is_ready(accept.as_mut()).await);
    server.close();
    let again = std::net::TcpListener::bind(address).expect("the port is free");
    let next = Listener::unix(&place.0).expect("the path is free");
    assert!(timeout(BOUND, accept).await.unwrap().is_none());
    drop((again, next));
}

#[tokio::test]
async fn an_accept_that_nobody_polls_takes_no_client_from_others() {
    let server = Arc::new(WebSocketServer::builder().bind("127.0.0.1:0").await.unwrap());
    let (waits, waiting) = oneshot::channel();
    let task = tokio::spawn({
        let server = server.clone();
        async move {
            let mut other = pin!(server.accept());
            assert!(!is_ready(other.as_mut()).await);
            waits.send(()).unwrap();
            other.await
        }
    });
    waiting.await.unwrap();
    // A tokio listener wakes only the task that polled it last. Here that task is `idle`, which is
    // not polled again. So our server has to wake the other task.
    let mut idle = pin!(server.accept());
    assert!(!is_ready(idle.as_mut()).await);
    let client = TcpStream::connect(server.local_addr().unwrap()).await.unwrap();
    let connecting = timeout(BOUND, task).await.expect("it is woken").unwrap().unwrap();
    assert_eq!(connecting.remote_address(), Some(client.local_addr().unwrap()));
}
