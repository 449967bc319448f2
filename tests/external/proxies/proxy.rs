//! Runs nginx and HAProxy as processes of a test. The proxies have their usual WebSocket
//! configuration, in a folder of the test, and listen on loopback. They need neither root nor the
//! services of the system.

use std::{
    net::SocketAddr,
    os::unix::process::{CommandExt, ExitStatusExt},
    path::PathBuf,
    process::Stdio,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream, UnixStream},
    process::{Child, Command},
    time::sleep,
};

use super::interop::{Certificate, within};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Nginx,
    HaProxy,
}

/// The protocol between the client and the proxy. Between the proxy and the servers, the protocol
/// is always plain `ws`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Front {
    Plain,
    Tls,
}

/// The settings in which the configurations of the tests differ.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) front: Front,
    /// How long a tunnel may be silent before the proxy closes it.
    pub(crate) idle: Duration,
    /// Whether HAProxy tells the server the client's address in a PROXY header of version 1.
    pub(crate) send_proxy: bool,
    /// Whether HAProxy checks the health of the servers. Each check is a connection to a server.
    pub(crate) checks: bool,
    pub(crate) choice: Choice,
}

/// How the proxy chooses one of several servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    /// By the load of each server, as in the manual's chapter on proxies.
    Load,
    /// By the client's cookie, as in the manual's chapter on resumption.
    Cookie,
    /// By the client's address.
    Source,
}

impl Default for Settings {
    fn default() -> Self {
        // The idle timeout is longer than any pause of the machine, so it never expires by chance.
        // Tests of the timeout set another idle timeout.
        Self {
            front: Front::Plain,
            idle: Duration::from_secs(3600),
            send_proxy: false,
            checks: false,
            choice: Choice::Load,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Proxy {
    kind: Kind,
    front: Front,
    port: Port,
    certificate: Certificate,
    folder: Folder,
    process: Child,
}

/// A folder for a proxy's files, which is removed when this value is dropped.
#[derive(Debug)]
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        // The folder is not in the target folder, because the path of a Unix socket has to be
        // short.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("wsmux-proxy-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).expect("a temporary folder");
        Self(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("a path in UTF-8").to_owned()
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.join(name), text).expect("a file in a temporary folder");
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A loopback port that stays reserved for a server of a test, even while that server restarts. The
/// reserving socket is bound to the port but does not listen. So no other program gets the port,
/// and clients are refused while the server is down.
#[derive(Debug)]
pub(crate) struct Port(TcpSocket);

impl Port {
    pub(crate) fn reserve() -> Self {
        let reserve = || {
            let socket = TcpSocket::new_v4()?;
            socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
            // The option is set after the port is bound. Otherwise the system might choose a port
            // that is already reserved.
            socket.set_reuseaddr(true)?;
            std::io::Result::Ok(socket)
        };
        Self(reserve().expect("a free port"))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addr().expect("a bound socket")
    }
}

impl Proxy {
    /// Starts a proxy in front of these servers, and waits until it listens.
    pub(crate) async fn start(kind: Kind, settings: &Settings, servers: &[SocketAddr]) -> Self {
        let certificate = Certificate::new();
        let folder = Folder::new();
        folder.write("cert.pem", &certificate.cert_pem);
        folder.write("key.pem", &certificate.key_pem);
        // HAProxy needs the certificate and the key in one file.
        folder.write("both.pem", &format!("{}{}", certificate.cert_pem, certificate.key_pem));
        let port = Port::reserve();
        let text = match kind {
            Kind::Nginx => nginx(&folder, port.address(), settings, servers),
            Kind::HaProxy => haproxy(&folder, port.address(), settings, servers),
        };
        folder.write("proxy.conf", &text);
        let process = spawn(kind, &folder);
        let mut proxy = Self { kind, front: settings.front, port, certificate, folder, process };
        proxy.listens().await;
        proxy
    }

    pub(crate) fn url(&self) -> String {
        let scheme = if self.front == Front::Tls { "wss" } else { "ws" };
        format!("{scheme}://{}/", self.port.address())
    }

    /// Returns the address of the proxy itself.
    pub(crate) fn address(&self) -> SocketAddr {
        self.port.address()
    }

    pub(crate) fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Kills all processes of the proxy.
    pub(crate) async fn kill(&mut self) {
        self.signal_all(Signal::SIGKILL);
        let status = within("the proxy's end", self.process.wait()).await.expect("a status");
        assert_eq!(status.signal(), Some(Signal::SIGKILL as i32), "it had ended by itself");
        // The workers are no longer children of this process. The only sign that the workers have
        // ended is that the port refuses connections.
        let gone = async {
            while TcpStream::connect(self.port.address()).await.is_ok() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        within("the workers' end", gone).await;
    }

    /// Starts the proxy again on the same port, as its supervisor would.
    pub(crate) async fn start_again(&mut self) {
        self.process = spawn(self.kind, &self.folder);
        self.listens().await;
    }

    async fn listens(&mut self) {
        let ready = async {
            while TcpStream::connect(self.port.address()).await.is_err() {
                if let Some(status) = self.process.try_wait().expect("a child of ours") {
                    panic!("{:?}: {status}, {}", self.kind, self.log());
                }
                // The proxy does not report that it listens, so this loop tries again.
                sleep(Duration::from_millis(20)).await;
            }
        };
        within("the proxy's start", ready).await;
    }

    /// Suspends the processes. Their sockets stay open, and no data moves.
    pub(crate) fn freeze(&self) {
        self.signal_all(Signal::SIGSTOP);
    }

    /// Makes the proxy read its configuration again. A new worker then listens, and the old worker
    /// ends within a second.
    pub(crate) async fn reload(&self) {
        if self.kind == Kind::Nginx {
            return kill(self.pid(), Signal::SIGHUP).expect("a process that lives");
        }
        let reloads = || self.log().matches("Reloading HAProxy").count();
        let before = reloads();
        let reload = async {
            // HAProxy's worker listens before its master handles signals. So the signal is sent
            // again until the log shows the reload.
            while reloads() == before {
                kill(self.pid(), Signal::SIGUSR2).expect("a process that lives");
                sleep(Duration::from_millis(200)).await;
            }
        };
        within("the reload", reload).await;
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path("log")).unwrap_or_default()
    }

    /// Sends a command to HAProxy's runtime API, and returns the answer.
    pub(crate) async fn tell(&self, command: &str) -> String {
        let job = async {
            let mut socket = UnixStream::connect(self.folder.path("admin.sock")).await?;
            socket.write_all(format!("{command}\n").as_bytes()).await?;
            let mut answer = String::new();
            socket.read_to_string(&mut answer).await?;
            std::io::Result::Ok(answer)
        };
        within("the runtime API's answer", job).await.expect("a runtime API")
    }

    fn pid(&self) -> Pid {
        let pid = self.process.id().expect("a process that lives");
        Pid::from_raw(pid.try_into().expect("a process id"))
    }

    /// Sends a signal to all processes. Each worker is a process of its own, which goes on when the
    /// master is killed.
    fn signal_all(&self, signal: Signal) {
        killpg(self.pid(), signal).expect("a process group that lives");
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if self.process.id().is_some() {
            self.signal_all(Signal::SIGKILL);
        }
    }
}

fn spawn(kind: Kind, folder: &Folder) -> Child {
    let config = folder.path("proxy.conf");
    let mut command = match kind {
        Kind::Nginx => {
            let mut command = std::process::Command::new("nginx");
            command.args(["-p", &folder.path(""), "-e", "stderr", "-c", &config]);
            command
        }
        Kind::HaProxy => {
            let mut command = std::process::Command::new("haproxy");
            command.args(["-W", "-db", "-f", &config]);
            command
        }
    };
    let log = std::fs::File::create(folder.path("log")).expect("a file in a temporary folder");
    command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    // Debian installs both proxies in a folder that is only in root's path.
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
    Command::from(command).spawn().unwrap_or_else(|error| panic!("{kind:?}: {error}; see ./test"))
}

/// Returns the manual's configuration with the addresses, files and times of the test. Each text
/// that is replaced must occur exactly once.
fn adapt(manual: &str, changes: &[(&str, &str)]) -> String {
    let mut text = manual.to_owned();
    for (from, to) in changes {
        assert_eq!(text.matches(from).count(), 1, "{from:?} in the manual's configuration");
        text = text.replace(from, to);
    }
    text
}

const NGINX: &str = include_str!("../../../src/manual/behind_a_proxy/nginx.conf");
const NGINX_WITH_COOKIE: &str =
    include_str!("../../../src/manual/when_the_network_goes/nginx.conf");

fn nginx(folder: &Folder, port: SocketAddr, settings: &Settings, servers: &[SocketAddr]) -> String {
    let count = servers.len();
    let servers: String = servers.iter().map(|server| format!("server {server};\n")).collect();
    // The manual's third server is only in the configuration with a cookie.
    let (manual, third): (_, &[_]) = match settings.choice {
        Choice::Load => (NGINX, &[]),
        Choice::Cookie => (NGINX_WITH_COOKIE, &[("    server 10.0.0.3:8080;\n", "")]),
        Choice::Source => unimplemented!("only HAProxy is tested with it"),
    };
    assert!(count <= 2 + third.len(), "as many servers as in the manual");
    let listen = match settings.front {
        Front::Plain => format!("listen {port};"),
        Front::Tls => format!("listen {port} ssl;"),
    };
    let idle = settings.idle.as_millis();
    let site = adapt(
        &adapt(manual, third),
        &[
            ("    server 10.0.0.1:8080;\n", &servers),
            ("    server 10.0.0.2:8080;\n", ""),
            ("listen 443 ssl;", &listen),
            ("/etc/nginx/cert.pem", &folder.path("cert.pem")),
            ("/etc/nginx/key.pem", &folder.path("key.pem")),
            ("proxy_read_timeout 60s;", &format!("proxy_read_timeout {idle}ms;")),
            ("proxy_send_timeout 60s;", &format!("proxy_send_timeout {idle}ms;")),
        ],
    );
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {};\n", folder.path(name)))
        .concat();
    let pid = folder.path("pid");
    format!(
        "daemon off;
pid {pid};
error_log stderr;
worker_processes 1;
worker_shutdown_timeout 1s;
events {{ worker_connections 256; }}
http {{
access_log off;
{temporary}
{site}
}}
"
    )
}

const HAPROXY: &str = include_str!("../../../src/manual/behind_a_proxy/haproxy.cfg");
/// The backend section that takes the place of the backend section in [`HAPROXY`].
const HAPROXY_WITH_COOKIE: &str =
    include_str!("../../../src/manual/when_the_network_goes/haproxy.cfg");

fn haproxy(
    folder: &Folder,
    port: SocketAddr,
    settings: &Settings,
    servers: &[SocketAddr],
) -> String {
    let bind = match settings.front {
        Front::Plain => format!("bind {port}"),
        Front::Tls => format!("bind {port} ssl crt {} alpn http/1.1", folder.path("both.pem")),
    };
    let send_proxy = if settings.send_proxy { " send-proxy" } else { "" };
    let with_cookie = settings.choice == Choice::Cookie;
    let names = ["a", "b", "c"];
    assert!(servers.len() <= names.len(), "as many servers as in the manual");
    let servers: String = names
        .iter()
        .zip(servers)
        .map(|(name, server)| {
            let cookie = if with_cookie { format!(" cookie {name}") } else { String::new() };
            format!("    server {name} {server}{send_proxy}{cookie}\n")
        })
        .collect();
    // Some of the servers wait for a single client. The proxy must not check the health of such a
    // server. A check is a connection, and the server would take the check for its client.
    let checks = match settings.checks {
        true => "    default-server check inter 200ms fall 1 rise 1\n",
        false => "",
    };
    let manual = match settings.choice {
        Choice::Load => HAPROXY.to_owned(),
        Choice::Source => adapt(HAPROXY, &[("balance leastconn", "balance source")]),
        Choice::Cookie => {
            let (rest, _) = HAPROXY.split_once("\nbackend wsmux\n").expect("a backend");
            let backend = adapt(
                HAPROXY_WITH_COOKIE,
                &[
                    ("server a 10.0.0.1:8080 cookie a", "server a 10.0.0.1:8080"),
                    ("server b 10.0.0.2:8080 cookie b", "server b 10.0.0.2:8080"),
                    ("    server c 10.0.0.3:8080 cookie c\n", ""),
                ],
            );
            format!("{rest}\n{backend}")
        }
    };
    let pool = adapt(
        &manual,
        &[
            ("bind :443 ssl crt /etc/haproxy/both.pem alpn http/1.1", &bind),
            ("timeout tunnel 60s", &format!("timeout tunnel {}ms", settings.idle.as_millis())),
            ("    default-server check inter 2s fall 2 rise 1\n", checks),
            ("    server a 10.0.0.1:8080\n", &servers),
            ("    server b 10.0.0.2:8080\n", ""),
        ],
    );
    let admin = folder.path("admin.sock");
    format!(
        "global
    stats socket {admin} mode 600 level admin expose-fd listeners
    hard-stop-after 1s

{pool}"
    )
}
