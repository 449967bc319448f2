//! Where clients come from: TCP on one family or both, and Unix sockets.

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

/// Clients that the system holds until they are accepted; it may hold fewer. As tokio's own.
const BACKLOG: i32 = 1024;

/// How often the lock of a path is tried for. It is free and yet cannot be had only where another server has ended
/// between two system calls of ours, and each time that takes another one.
#[cfg(unix)]
const LOCK_ATTEMPTS: usize = 16;

/// One socket of a [`WebSocketServer`](crate::WebSocketServer) on which it listens.
#[derive(Debug)]
pub struct Listener(Kind);

#[derive(Debug)]
enum Kind {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixListener, #[expect(dead_code, reason = "for its drop")] Option<SocketFile>),
}

/// What a client comes by.
#[derive(Debug)]
pub(crate) enum AcceptedStream {
    Tcp(TcpStream, SocketAddr),
    #[cfg(unix)]
    Unix(UnixStream),
}

impl AcceptedStream {
    /// The client's address; `None` of a Unix socket, whose clients have none.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(_, address) => Some(*address),
            #[cfg(unix)]
            Self::Unix(_) => None,
        }
    }
}

impl Listener {
    /// Listens on all addresses that these names have, with one socket for each.
    ///
    /// `[::]` takes IPv4 clients too, whatever the system's own setting (`net.ipv6.bindv6only`), unless `0.0.0.0`
    /// with the same port is among the addresses. Where the system's IPv6 sockets cannot take IPv4 clients, as on
    /// OpenBSD, there are two sockets instead; where it has no IPv6, one for IPv4. The addresses of IPv4 clients are
    /// given as such, and not as `::ffff:192.0.2.1`.
    ///
    /// A name is resolved on the runtime's threads for blocking work, and a runtime that is dropped meanwhile waits for it.
    ///
    /// # Errors
    /// What the operating system says, of the first address that it does not give.
    ///
    /// # Cancel safety
    /// Nothing listens when the future is dropped.
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

    /// The first of the addresses that can be listened on.
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

    /// Listens on a Unix socket. A socket that a process has left there is replaced, if nobody listens on it; ours is
    /// removed with this. Who may connect is a matter of the folder's permissions.
    ///
    /// Of several that start on one path at once, one listens. For that a file `<path>.lock` beside the socket is
    /// locked (`flock`) for as long as this listens, and removed with it. A process that was killed leaves it, which
    /// does no harm: its lock has gone with the process. Do not remove that file while a server may be running.
    ///
    /// # Errors
    /// What the operating system says; [`AddrInUse`](io::ErrorKind::AddrInUse) where somebody listens, or where there
    /// is something else than a socket.
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

    /// The address; `None` of a Unix socket.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match &self.0 {
            Kind::Tcp(listener) => listener.local_addr().ok(),
            #[cfg(unix)]
            Kind::Unix(..) => None,
        }
    }

    /// The next client. Of all who poll, the last one's waker is kept.
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

    /// The next client, for one who waits alone.
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

/// Its file stays when the server is gone.
#[cfg(unix)]
impl From<UnixListener> for Listener {
    fn from(listener: UnixListener) -> Self {
        Self(Kind::Unix(listener, None))
    }
}

/// What a socket of both families calls an IPv4 address, as an IPv4 address.
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
        // A kernel without IPv6: all addresses that there are, are IPv4's.
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
    // So that a server can be started again at once. On Windows it means something else.
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
    is_socket && knock(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// Without waiting: who listens may have a full queue, and is there all the same.
#[cfg(unix)]
fn knock(path: &Path) -> io::Result<()> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&socket2::SockAddr::unix(path)?)
}

/// The file of a Unix socket, removed with this unless another has taken its place: a program that knows nothing of
/// the lock may have.
#[cfg(unix)]
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    id: FileId,
    /// Released once the socket's file is removed.
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

/// The right to make and to remove the file of a Unix socket: to look for a socket that was left there, to remove it
/// and to bind are three steps, between which no other server may come.
#[cfg(unix)]
#[derive(Debug)]
struct PathLock {
    path: PathBuf,
    /// Always there but while it is dropped.
    file: Option<Flock<File>>,
}

#[cfg(unix)]
impl PathLock {
    /// Without waiting.
    fn take(socket: &Path) -> io::Result<Self> {
        let mut path = socket.to_owned().into_os_string();
        path.push(".lock");
        let path = PathBuf::from(path);
        // In a folder that others write to, a link must not lead elsewhere, nor a pipe hold us up. And who can open the
        // file can lock it, and keep the server from starting.
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
            // The one that held it has removed it meanwhile: its lock keeps nobody out any more.
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
        // Removed while it is locked, so that it is nobody else's. One that holds something was there before us.
        let is_ours = file.metadata().is_ok_and(|ours| {
            let there = self.path.symlink_metadata();
            ours.len() == 0 && there.is_ok_and(|there| FileId::of(&there) == FileId::of(&ours))
        });
        if is_ours {
            let _ = std::fs::remove_file(&self.path);
        }
        // Its own drop panics where the system does not unlock.
        if let Err((file, _)) = file.unlock() {
            std::mem::forget(file);
        }
    }
}

/// What tells a file from another that has its name later.
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
