//! The published Node.js packages as peers. A peer is a process that reads commands. Each command
//! is one line of JSON (tests/peers/node/driver.mjs describes the commands).

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    sync::{mpsc, oneshot, watch},
};

use crate::interop::within;

/// Why a command failed, as the peer's application saw it.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeError {
    pub name: String,
    pub message: String,
    /// The application error code that the peer received for the stream, if it received a code.
    pub code: Option<u64>,
}

type Reply = Result<Value, NodeError>;

/// What the process has reported so far.
#[derive(Debug, Default)]
struct Heard {
    events: Vec<Value>,
    exited: bool,
}

#[derive(Debug, Default)]
struct Shared {
    /// Commands that have no answer yet, by id; `None` once the process has exited.
    pending: Mutex<Option<HashMap<u64, oneshot::Sender<Reply>>>>,
    heard: watch::Sender<Heard>,
    stderr: Mutex<String>,
}

/// One peer. When this value is dropped, the peer's process is killed.
#[derive(Debug)]
pub struct Node {
    commands: mpsc::UnboundedSender<String>,
    shared: Arc<Shared>,
    next_id: AtomicU64,
    _child: Child,
}

/// Returns the folder of the peers. The path does not depend on the folder in which the test runs.
fn peers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/peers/node")
}

impl Node {
    /// Starts a peer that listens, and returns its port.
    pub async fn server(file: &str, options: &[&str]) -> (Self, u64) {
        let node = Self::start(file, "server", options);
        let listening = node.event("listening").await;
        (node, listening["port"].as_u64().expect("a port"))
    }

    /// Starts a peer that connects, and waits until it has connected.
    pub async fn client(file: &str, url: &str, options: &[&str]) -> Self {
        let node = Self::start(file, "client", &[&["--url", url], options].concat());
        node.event("connected").await;
        node
    }

    /// Starts a peer that connects, as [`client`](Self::client) does. If the peer fails to connect,
    /// returns the failure that the peer reported. If the peer exited without a report, returns its
    /// stderr.
    #[allow(dead_code, reason = "one of the two test crates has no use for it")]
    pub async fn try_client(file: &str, url: &str, options: &[&str]) -> Result<Self, Value> {
        let node = Self::start(file, "client", &[&["--url", url], options].concat());
        let mut heard = node.shared.heard.subscribe();
        let decided = |event: &Value| event["event"] == "connected" || event["event"] == "failed";
        let heard = heard.wait_for(|heard| heard.exited || heard.events.iter().any(decided));
        let heard = within("an outcome of node's connecting", heard).await.expect("in self");
        let failed = heard.events.iter().find(|event| event["event"] == "failed").cloned();
        let exited = heard.exited;
        drop(heard);
        match failed {
            Some(failed) => Err(failed),
            None if exited => Err(node.shared.stderr.lock().unwrap().clone().into()),
            None => Ok(node),
        }
    }

    fn start(file: &str, role: &str, options: &[&str]) -> Self {
        let peers = peers();
        assert!(
            peers.join("node_modules").is_dir(),
            "the Node peers are not installed in {}: run ./test, which installs them, or `npm ci` there",
            peers.display(),
        );
        let mut child = Command::new("node")
            .arg(peers.join(file))
            .arg(role)
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| {
                panic!("cannot start `node`, which this test needs ({error}): install Node 20, then run ./test")
            });
        let shared =
            Arc::new(Shared { pending: Mutex::new(Some(HashMap::new())), ..Default::default() });
        let (commands, mut lines) = mpsc::unbounded_channel::<String>();
        let mut stdin = child.stdin.take().expect("piped");
        tokio::spawn(async move {
            while let Some(line) = lines.recv().await {
                // This write fails once the process has exited. The task that reads the output of
                // the process also notices the exit, and ends all pending commands.
                if stdin.write_all(line.as_bytes()).await.is_err() {
                    return;
                }
            }
        });
        let stdout = child.stdout.take().expect("piped");
        tokio::spawn(hear(shared.clone(), BufReader::new(stdout).lines()));
        let stderr = child.stderr.take().expect("piped");
        tokio::spawn(keep_stderr(shared.clone(), stderr));
        Self { commands, shared, next_id: AtomicU64::new(1), _child: child }
    }

    /// Sends a command at once, and returns a future of its answer. Commands run concurrently.
    pub fn try_call(
        &self,
        command: &str,
        mut arguments: Value,
    ) -> impl Future<Output = Reply> + Send + use<> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        arguments["id"] = id.into();
        arguments["cmd"] = command.into();
        let (answer, answered) = oneshot::channel();
        // If the process has exited, `pending` is `None`. Then `answer` is not stored but dropped,
        // and the future below reports the exit.
        if let Some(pending) = self.shared.pending.lock().unwrap().as_mut() {
            pending.insert(id, answer);
        }
        let _ = self.commands.send(format!("{arguments}\n"));
        let (shared, what) = (self.shared.clone(), format!("the answer to {arguments}"));
        async move {
            match within(&what, answered).await {
                Ok(reply) => reply,
                Err(_) => {
                    panic!("no more {what}: node has ended\n{}", shared.stderr.lock().unwrap())
                }
            }
        }
    }

    /// Sends a command, as [`try_call`](Self::try_call) does, and fails the test if the command
    /// fails.
    pub fn call(
        &self,
        command: &str,
        arguments: Value,
    ) -> impl Future<Output = Value> + Send + use<> {
        let what = format!("{command} {arguments}");
        let reply = self.try_call(command, arguments);
        async move { reply.await.unwrap_or_else(|error| panic!("node: {what}: {error:?}")) }
    }

    /// Sends a command, as [`try_call`](Self::try_call) does, and fails the test if the command
    /// succeeds.
    pub fn call_fails(
        &self,
        command: &str,
        arguments: Value,
    ) -> impl Future<Output = NodeError> + Send + use<> {
        let what = format!("{command} {arguments}");
        let reply = self.try_call(command, arguments);
        async move {
            match reply.await {
                Ok(value) => panic!("node: {what} was to fail, and gave {value}"),
                Err(error) => error,
            }
        }
    }

    /// Makes the peer open a stream, and returns the handle by which commands name the stream.
    pub async fn open(&self, dir: &str) -> u64 {
        handle(&self.call("open", json!({ "dir": dir })).await)
    }

    /// Has the peer accept the next stream that we open. The command is sent before this function
    /// returns, even if the future is not polled.
    pub fn accept(&self, dir: &str) -> impl Future<Output = u64> + Send + use<> {
        let stream = self.call("accept", json!({ "dir": dir }));
        async move { handle(&stream.await) }
    }

    /// Has the peer read a stream to its end, which must be clean, and check the bytes.
    pub fn read_pattern(
        &self,
        stream: u64,
        seed: u8,
        bytes: u64,
    ) -> impl Future<Output = ()> + Send + use<> {
        let read = self.call("read", json!({ "stream": stream, "seed": seed }));
        async move {
            let read = read.await;
            assert_eq!(read["bytes"], bytes, "{read}");
            assert_eq!(read["patternOk"], true, "{read}");
            assert_eq!(read["end"], true, "{read}");
        }
    }

    /// Has the peer write to a stream and finish it.
    pub fn write_pattern(
        &self,
        stream: u64,
        seed: u8,
        bytes: u64,
    ) -> impl Future<Output = ()> + Send + use<> {
        let write = self.call("write", json!({ "stream": stream, "seed": seed, "bytes": bytes }));
        let finish = self.call("finish", json!({ "stream": stream }));
        async move {
            write.await;
            finish.await;
        }
    }

    /// Waits for an event of this name. An event that came before the call is returned as well.
    pub async fn event(&self, name: &str) -> Value {
        let mut heard = self.shared.heard.subscribe();
        let found = |heard: &Heard| {
            let ended = heard.exited || heard.events.iter().any(|event| event["event"] == "failed");
            ended || heard.events.iter().any(|event| event["event"] == name)
        };
        let what = format!("node's event {name}");
        let heard = within(&what, heard.wait_for(found)).await.expect("the sender is in self");
        heard.events.iter().find(|event| event["event"] == name).cloned().unwrap_or_else(|| {
            let stderr = self.shared.stderr.lock().unwrap();
            panic!("no {what}, but {:?}\n{stderr}", heard.events)
        })
    }

    /// Returns the errors that would have ended the process if the driver had not caught them.
    pub fn uncaught(&self) -> Vec<String> {
        let heard = self.shared.heard.borrow();
        let uncaught = heard.events.iter().filter(|event| event["event"] == "uncaught");
        uncaught.map(|event| event["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Asserts that the process is running. Also asserts that the driver has caught no error that
    /// would have ended the process.
    pub async fn assert_unharmed(&self) {
        let status = self.call("status", json!({})).await;
        assert_eq!(status["alive"], true, "{status}");
        assert_eq!(self.uncaught(), Vec::<String>::new());
    }
}

fn handle(reply: &Value) -> u64 {
    reply["stream"].as_u64().unwrap_or_else(|| panic!("no stream in {reply}"))
}

/// Dispatches what the process prints, until it exits.
async fn hear(shared: Arc<Shared>, mut lines: Lines<BufReader<ChildStdout>>) {
    while let Ok(Some(line)) = lines.next_line().await {
        let Ok(mut message) = serde_json::from_str::<Value>(&line) else {
            panic!("node says what is not JSON: {line}");
        };
        if message["event"].is_string() {
            shared.heard.send_modify(|heard| heard.events.push(message));
            continue;
        }
        let id = message["id"].as_u64().unwrap_or_default();
        let answer = shared.pending.lock().unwrap().as_mut().and_then(|all| all.remove(&id));
        if let Some(answer) = answer {
            let error = message["error"].take();
            // The caller may no longer be waiting.
            let _ = answer.send(match error {
                Value::Null => Ok(message["ok"].take()),
                error => Err(NodeError {
                    name: error["name"].as_str().unwrap_or_default().to_owned(),
                    message: error["message"].as_str().unwrap_or_default().to_owned(),
                    code: error["code"].as_u64(),
                }),
            });
        }
    }
    shared.pending.lock().unwrap().take();
    shared.heard.send_modify(|heard| heard.exited = true);
}

/// Keeps what the packages print, to include it in the message of a failure.
async fn keep_stderr(shared: Arc<Shared>, stderr: impl AsyncRead + Unpin) {
    let mut lines = BufReader::new(stderr).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let mut kept = shared.stderr.lock().unwrap();
        kept.push_str(&line);
        kept.push('\n');
    }
}
