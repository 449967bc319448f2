//! `wsmux forward`: TCP connections through the streams of one WebSocket.

mod far;
mod near;
mod relay;

use std::{fmt, net::SocketAddr, str::FromStr, time::Duration};

use wsmux::Config;

use crate::{
    Failure,
    endpoint::{ServerTls, TokenArg, Trust},
};

/// The application protocol of a WebSocket whose client opens the streams, and whose server
/// connects to the target.
const FORWARD: &str = "wsmux-forward";
/// The application protocol of a WebSocket whose server opens the streams, and whose client
/// connects to the target. A server accepts it only if it was started with `--reverse`.
const REVERSE: &str = "wsmux-reverse";

const LONG_ABOUT: &str = "\
Forwards TCP connections through one WebSocket, a stream for each

The near end (--to) connects to the far end (--serve), and connects again after a loss.
The end with --listen accepts TCP connections. The other end connects each of them to its own
--target, never to an address that its peer names. Half-closes and resets pass through in both
directions.

Like ssh -N -L 8080:127.0.0.1:80 host, where the near end listens:

  host$ wsmux forward --serve 0.0.0.0:443 --tls --cert c.pem --key k.pem --target 127.0.0.1:80
  here$ wsmux forward --listen 127.0.0.1:8080 --to wss://host/

Like ssh -N -R 2222:127.0.0.1:22 host, where the far end listens, on an address of its own choice:

  host$ wsmux forward --serve 0.0.0.0:443 --tls --cert c.pem --key k.pem \\
            --reverse --listen 127.0.0.1:2222
  here$ wsmux forward --reverse --target 127.0.0.1:22 --to wss://host/

Both ends take the token from --token or from WSMUX_TOKEN. The first line of output says where
an end listens. The near end exits with code 1 if its first attempt to connect fails, or if the
far end later refuses it for good. If there are several near ends with --reverse, the newest one
gets the new TCP connections.";

/// Forwards TCP connections through one WebSocket, a stream for each
#[derive(Debug, clap::Args)]
#[command(long_about = LONG_ABOUT)]
pub(crate) struct Args {
    /// The near end: connects to the far end at this ws:// or wss:// address
    #[arg(long, value_name = "URL", required_unless_present = "serve", conflicts_with = "serve")]
    to: Option<String>,
    /// The far end: serves near ends on this address; port 0 picks a free port
    #[arg(long, value_name = "ADDRESS")]
    serve: Option<SocketAddr>,
    /// Accepts TCP connections on this address; port 0 picks a free port
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Connects each stream to this TCP address
    #[arg(long, value_name = "HOST:PORT")]
    target: Option<Target>,
    /// The far end listens and the near end connects to the target; both ends need this option
    #[arg(long)]
    reverse: bool,
    #[command(flatten)]
    token: TokenArg,
    /// The far end also serves clients without a token
    #[arg(long, conflicts_with = "token")]
    allow_anyone: bool,
    #[command(flatten)]
    tls: ServerTls,
    #[command(flatten)]
    trust: Trust,
    /// TCP connections at once, for each WebSocket; more wait in the kernel's accept queue
    #[arg(long, value_name = "COUNT", default_value_t = 256,
          value_parser = clap::value_parser!(u32).range(1..))]
    max_streams: u32,
    /// Near ends that the far end serves at once; more wait in the kernel's accept queue
    #[arg(long, value_name = "COUNT", default_value_t = 1024,
          value_parser = clap::value_parser!(u32).range(1..))]
    max_connections: u32,
    /// Seconds allowed for connecting to the target, and for waiting for a stream
    #[arg(long, value_name = "SECONDS", default_value_t = 10,
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    connect_timeout: u64,
}

/// The role of this end, if its arguments are consistent.
pub(crate) enum Role<'a> {
    Near { url: &'a str, does: Near<'a> },
    Far { address: SocketAddr, target: Option<&'a Target>, listen: Option<SocketAddr> },
}

pub(crate) enum Near<'a> {
    Listens(SocketAddr),
    Dials(&'a Target),
}

impl Args {
    /// Returns the role of this end.
    ///
    /// # Errors
    /// Advice for the user. The arguments are checked here and not by clap, because clap has no
    /// rule that relates two arguments and depends on a third argument.
    pub(crate) fn role(&self) -> Result<Role<'_>, &'static str> {
        let (target, listen) = (self.target.as_ref(), self.listen);
        if let Some(address) = self.serve {
            if self.trust.ca.is_some() || self.trust.insecure {
                return Err("--ca and --insecure are for the end with --to");
            }
            return match (self.reverse, target, listen) {
                (false, None, _) => Err("--serve needs a --target, or --reverse and --listen"),
                (false, _, Some(_)) => Err("--listen with --serve needs --reverse"),
                (true, _, None) => Err("--reverse with --serve needs --listen"),
                _ if self.token.token.is_none() && !self.allow_anyone => {
                    Err("--serve needs a --token, or --allow-anyone")
                }
                _ => Ok(Role::Far { address, target, listen }),
            };
        }
        // A `requires = "serve"` on this option would not help. If `--to` is given, clap ignores
        // such a rule, because `--to` conflicts with `--serve`.
        if self.allow_anyone {
            return Err("--allow-anyone is for the end with --serve");
        }
        if self.tls.tls {
            return Err("--tls is for the end with --serve; the end with --to has it in its URL");
        }
        let does = match (self.reverse, target, listen) {
            (false, None, Some(address)) => Near::Listens(address),
            (true, Some(target), None) => Near::Dials(target),
            (false, None, None) => return Err("--to needs --listen, or --reverse and --target"),
            (false, ..) => {
                return Err("--target with --to needs --reverse: the target is set at the far end");
            }
            (true, ..) => return Err("--reverse with --to needs --target, and takes no --listen"),
        };
        Ok(Role::Near { url: self.to.as_deref().unwrap_or_default(), does })
    }

    fn connect_timeout(&self) -> Duration {
        Duration::from_secs(self.connect_timeout)
    }

    /// Returns a configuration with which the peer may open this many bidirectional streams, and no
    /// unidirectional streams.
    fn config(&self, streams: u32) -> Config {
        let mut config = Config::default();
        config
            .max_concurrent_bidi_streams(streams.into())
            .max_concurrent_uni_streams(0)
            // Streams are cancelled by the peer's TCP clients, and not by the peer itself. If
            // cancelled streams had a budget, a port scan by one TCP client would end the tunnel
            // for all other TCP clients. Here each stream is a TCP connection, so the limit on
            // concurrent streams is enough to bound the cost.
            .cancelled_streams_per_second(None);
        config
    }
}

pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    match args.role()? {
        Role::Near { url, does: Near::Listens(address) } => near::listen(&args, url, address).await,
        Role::Near { url, does: Near::Dials(target) } => near::dial(&args, url, target).await,
        Role::Far { address, target, listen } => far::serve(&args, address, target, listen).await,
    }
}

/// A host and a port. The host is resolved again for each TCP connection.
#[derive(Debug, Clone)]
pub(crate) struct Target(String);

impl FromStr for Target {
    type Err = &'static str;

    fn from_str(target: &str) -> Result<Self, Self::Err> {
        match target.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
                Ok(Self(target.to_owned()))
            }
            _ => Err("not a host and a port, such as 127.0.0.1:22"),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
