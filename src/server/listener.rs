//! Listening sockets: TCP over IPv4, IPv6 or both, and Unix sockets.

#[cfg(unix)]
use std::{
    fs::{File, OpenOptions},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};
use std::{
    io,
    net::SocketAddr,
    task::{Context, Poll, ready},
};

#[cfg(unix)]
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg, OFlag},
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream, ToSocketAddrs, lookup_host};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};

/// How many clients may wait in the kernel's accept queue. The system may allow fewer. tokio uses
/// the same number.
const BACKLOG: i32 = 1024;

/// How many times to try to lock a path. An attempt can fail although no other server listens. This
/// happens if another server ends and removes the file after this server has opened the file and
/// before this server has locked it. All sixteen attempts can fail only if sixteen servers end at
/// exactly such moments.
#[cfg(unix)]
const LOCK_ATTEMPTS: usize = 16;

/// One listening socket of a [`WebSocketServer`](crate::WebSocketServer).
#[derive(Debug)]
pub struct Listener(Kind);

#[derive(Debug)]
enum Kind {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixListener, #[expect(dead_code, reason = "for its drop")] Option<SocketFile>),
}

/// The stream of an accepted client.
#[derive(Debug)]
pub(crate) enum AcceptedStream {
    Tcp(TcpStream, SocketAddr),
    #[cfg(unix)]
    Unix(UnixStream),
}

impl AcceptedStream {
    /// Returns the client's address, or `None` for a Unix socket, whose clients have none.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(_, address) => Some(*address),
            #[cfg(unix)]
            Self::Unix(_) => None,
        }
    }
}

impl Listener {
    /// Listens on all addresses of these names, with one socket for each.
    ///
    /// `[::]` accepts IPv4 clients as well, independently of the system's setting
    /// (`net.ipv6.bindv6only`), unless `0.0.0.0` with the same port is among the addresses. If the
    /// system's IPv6 sockets cannot accept IPv4 clients, as on OpenBSD, there are two sockets
    /// instead. If the system has no IPv6, there is one socket for IPv4. The addresses of IPv4
    /// clients are reported as IPv4 addresses, and not as `::ffff:192.0.2.1`.
    ///
    /// A name is resolved on the runtime's threads for blocking work. If the runtime is dropped
    /// during the resolution, the drop waits for the resolver.
    ///
    /// # Errors
    /// The operating system's error for the first address that is not available.
    ///
    /// # Cancel safety
    /// When the future is dropped, no socket stays open.
    pub async fn tcp(
        addresses: impl IntoIterator<Item = impl ToSocketAddrs>,
    ) -> io::Result<Vec<Self>> {
        let mut all = Vec::new();
        for address in addresses {
            all.extend(lookup_host(address).await?);
        }
        let mut listeners = Vec::new();
        for address in &all {
            let four = SocketAddr::from(([0, 0, 0, 0], address.port()));
            if is_all_of_ipv6(address) && !all.contains(&four) {
                listeners.extend(dual_stack(*address)?);
            } else {
                listeners.push(single_stack(*address)?.into());
            }
        }
        match listeners.is_empty() {
            true => Err(io::Error::new(io::ErrorKind::InvalidInput, "no address to listen on")),
            false => Ok(listeners),
        }
    }

    /// Listens on the first of the addresses that is available.
    pub(super) async fn first_of(addresses: impl ToSocketAddrs) -> io::Result<Vec<Self>> {
        let mut failed = io::Error::new(io::ErrorKind::InvalidInput, "no address to listen on");
        for address in lookup_host(addresses).await? {
            match Self::tcp([address]).await {
                Ok(listeners) => return Ok(listeners),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    /// Listens on a Unix socket. If a process that has ended has left a socket at the path, that
    /// socket is replaced. This server's socket is removed when the listener is dropped. The
    /// permissions of the directory control who may connect.
    ///
    /// If several servers start on one path at once, only one of them listens. To ensure this, the
    /// listener locks (`flock`) a file `<path>.lock` beside the socket. The listener removes this
    /// file when the listener is dropped. If the process is killed, the file stays. The file does
    /// no harm, because the lock ends with the process. Do not remove the file while a server may
    /// be running.
    ///
    /// # Errors
    /// The operating system's error. It is [`AddrInUse`](io::ErrorKind::AddrInUse) if another
    /// server listens on the path, or if there is something other than a socket at the path.
    #[cfg(unix)]
    pub fn unix(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        let lock = PathLock::take(path)?;
        let listener = match UnixListener::bind(path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_left_over(path) => {
                std::fs::remove_file(path)?;
                UnixListener::bind(path)?
            }
            bound => bound?,
        };
        let file = SocketFile::new(path, lock)?;
        Ok(Self(Kind::Unix(listener, Some(file))))
    }

    /// Returns the local address, or `None` for a Unix socket.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match &self.0 {
            Kind::Tcp(listener) => listener.local_addr().ok(),
            #[cfg(unix)]
            Kind::Unix(..) => None,
        }
    }

    /// Accepts the next client. Only the waker of the last task that polled is kept.
    pub(super) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<AcceptedStream>> {
        match &self.0 {
            Kind::Tcp(listener) => {
                let (stream, address) = ready!(listener.poll_accept(cx))?;
                Poll::Ready(Ok(AcceptedStream::Tcp(stream, canonical(address))))
            }
            #[cfg(unix)]
            Kind::Unix(listener, _) => {
                Poll::Ready(Ok(AcceptedStream::Unix(ready!(listener.poll_accept(cx))?.0)))
            }
        }
    }

    /// Accepts the next client. Only a single task may call this, because
    /// [`poll_accept`](Self::poll_accept) keeps only one waker.
    #[cfg(feature = "hyper")]
    pub(crate) async fn accept(&self) -> io::Result<AcceptedStream> {
        std::future::poll_fn(|cx| self.poll_accept(cx)).await
    }
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self(Kind::Tcp(listener))
    }
}

/// Makes a listener that leaves the socket's file in place when it is dropped.
#[cfg(unix)]
impl From<UnixListener> for Listener {
    fn from(listener: UnixListener) -> Self {
        Self(Kind::Unix(listener, None))
    }
}

/// Converts an IPv4-mapped IPv6 address (`::ffff:192.0.2.1`), as a dual-stack socket reports it, to
/// the IPv4 address. Leaves other addresses as they are.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip if ip == address.ip() => address,
        ip => SocketAddr::new(ip, address.port()),
    }
}

fn is_all_of_ipv6(address: &SocketAddr) -> bool {
    address.is_ipv6() && address.ip().is_unspecified()
}

fn dual_stack(address: SocketAddr) -> io::Result<Vec<Listener>> {
    let four = |port| single_stack(SocketAddr::from(([0, 0, 0, 0], port)));
    let socket = match stream_socket(address) {
        Ok(socket) => socket,
        // The kernel has no IPv6, so `0.0.0.0` stands for all addresses of this machine.
        Err(_) => return Ok(vec![four(address.port())?.into()]),
    };
    if socket.set_only_v6(false).is_ok() {
        return Ok(vec![listen(socket, address)?.into()]);
    }
    let six = single_stack(address)?;
    let four = four(six.local_addr()?.port())?;
    Ok(vec![six.into(), four.into()])
}

fn single_stack(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = stream_socket(address)?;
    if is_all_of_ipv6(&address) {
        socket.set_only_v6(true)?;
    }
    listen(socket, address)
}

fn stream_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // This option lets a server restart at once. On Windows it has another meaning.
    #[cfg(not(windows))]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn listen(socket: Socket, address: SocketAddr) -> io::Result<TcpListener> {
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

#[cfg(unix)]
fn is_left_over(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    let is_socket = path.symlink_metadata().is_ok_and(|file| file.file_type().is_socket());
    is_socket && probe(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// Tries to connect to the socket, to find out whether a server listens. Does not wait for the
/// connection, because the queue of a listening server may be full.
#[cfg(unix)]
fn probe(path: &Path) -> io::Result<()> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&socket2::SockAddr::unix(path)?)
}

/// The file of a Unix socket. Dropping this removes the file, unless a program that does not use
/// the lock has replaced the file.
#[cfg(unix)]
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    id: FileId,
    /// The lock is dropped after the socket's file is removed.
    _lock: PathLock,
}

#[cfg(unix)]
impl SocketFile {
    fn new(path: &Path, lock: PathLock) -> io::Result<Self> {
        let id = FileId::of(&path.symlink_metadata()?);
        Ok(Self { path: path.to_owned(), id, _lock: lock })
    }
}

#[cfg(unix)]
impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.path.symlink_metadata().is_ok_and(|file| FileId::of(&file) == self.id) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// The right to create and to remove the file of a Unix socket. A server that starts checks for a
/// socket that an earlier server left there, removes that socket, and binds. While the starting
/// server holds this right, no other server can do any of these steps.
#[cfg(unix)]
#[derive(Debug)]
struct PathLock {
    path: PathBuf,
    /// This is `None` only while the lock is being dropped.
    file: Option<Flock<File>>,
}

#[cfg(unix)]
impl PathLock {
    /// Takes the lock, or fails without waiting.
    fn take(socket: &Path) -> io::Result<Self> {
        let mut path = socket.to_owned().into_os_string();
        path.push(".lock");
        let path = PathBuf::from(path);
        // If other users may write to the directory, they may have put a link or a pipe there. A
        // link must not be followed, and a pipe must not block. The mode keeps other users from
        // locking the file, because the server could not start while they hold the lock.
        let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
        let mut options = OpenOptions::new();
        options.write(true).create(true).mode(0o600).custom_flags(flags);
        for _ in 0..LOCK_ATTEMPTS {
            let file = options.open(&path)?;
            let id = FileId::of(&file.metadata()?);
            let file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(file) => file,
                Err((_, Errno::EWOULDBLOCK)) => break,
                Err((_, error)) => return Err(error.into()),
            };
            // The previous owner may have removed the file after it was opened here. A lock on a
            // removed file excludes no other server.
            if path.symlink_metadata().is_ok_and(|file| FileId::of(&file) == id) {
                return Ok(Self { path, file: Some(file) });
            }
        }
        Err(io::Error::new(io::ErrorKind::AddrInUse, "another server listens on this path"))
    }
}

#[cfg(unix)]
impl Drop for PathLock {
    fn drop(&mut self) {
        let Some(file) = self.file.take() else { return };
        // The file is removed while it is locked, so the file is certainly this server's. A file
        // with content existed before this server started, so it is not removed.
        let is_ours = file.metadata().is_ok_and(|ours| {
            let there = self.path.symlink_metadata();
            ours.len() == 0 && there.is_ok_and(|there| FileId::of(&there) == FileId::of(&ours))
        });
        if is_ours {
            let _ = std::fs::remove_file(&self.path);
        }
        // The drop of `Flock` panics if unlocking fails, so a file that cannot be unlocked is not
        // dropped.
        if let Err((file, _)) = file.unlock() {
            std::mem::forget(file);
        }
    }
}

/// Distinguishes a file from a later file with the same name.
#[cfg(unix)]
#[derive(Debug, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

#[cfg(unix)]
impl FileId {
    fn of(file: &std::fs::Metadata) -> Self {
        Self { device: file.dev(), inode: file.ino() }
    }
}
