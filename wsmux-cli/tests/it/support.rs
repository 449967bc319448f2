//! Starts processes of `wsmux`, and reads their output.

use std::{net::SocketAddr, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

/// A time limit. A test that reaches it has failed.
const PATIENCE: Duration = Duration::from_secs(60);

pub const TOKEN: &str = "s3cret-T0ken";

pub async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("it happens in time")
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wsmux"));
    command.args(args).env_remove("WSMUX_TOKEN").stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// A process that runs until this handle is dropped.
pub struct Wsmux {
    _child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Wsmux {
    pub fn start(args: &[&str]) -> Self {
        let mut child = command(args).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { _child: child, lines }
    }

    /// Returns the text after `prefix` on the next line of the process's output.
    pub async fn says(&mut self, prefix: &str) -> String {
        let line = within(self.lines.next_line()).await.unwrap();
        let line = line.unwrap_or_else(|| panic!("it ended before it said {prefix:?}"));
        line.strip_prefix(prefix).unwrap_or_else(|| panic!("{line:?}")).to_owned()
    }

    pub async fn listens(&mut self) -> String {
        self.says("listening on ").await
    }
}

/// Starts a far end on a free port, and returns its URL.
pub async fn far(args: &[&str]) -> (Wsmux, String) {
    let mut far = Wsmux::start(&[&["forward", "--serve", "127.0.0.1:0"], args].concat());
    let url = far.listens().await;
    (far, url)
}

/// Starts a near end that listens, and returns its address.
pub async fn near(url: &str, args: &[&str]) -> (Wsmux, SocketAddr) {
    let fixed = ["forward", "--listen", "127.0.0.1:0", "--to", url];
    let mut near = Wsmux::start(&[&fixed, args].concat());
    let address = near.listens().await.parse().unwrap();
    (near, address)
}

/// Runs a process to its end, and returns its exit code, stdout and stderr.
pub async fn run(args: &[&str]) -> (i32, String, String) {
    let mut child = command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let (mut stdout, mut stderr) = (String::new(), String::new());
    let ends = async {
        tokio::try_join!(out.read_to_string(&mut stdout), err.read_to_string(&mut stderr))
    };
    within(ends).await.unwrap();
    let code = within(child.wait()).await.unwrap().code().expect("no signal ended it");
    (code, stdout, stderr)
}
