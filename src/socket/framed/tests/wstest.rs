//! Runs the Autobahn test suite itself against the socket in either role.
//! `tests/peers/autobahn/NOTES.md` says how to install the suite. The module `autobahn` contains
//! the suite's cases for tests without a network and without Python.

use std::{collections::BTreeMap, path::PathBuf, process::Stdio, time::Duration};

use serde_json::{Value, json};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    process::{Child, Command},
};

use super::{super::*, echo::echo};
use crate::handshake::{client, head::read_head, server};

/// The largest message of section 9.
const LARGEST: u64 = 16 << 20;

/// Cases for features that wsmux does not have: UTF-8 in text messages, which are always refused,
/// and compression, which is never negotiated.
const NOT_OURS: [&str; 3] = ["6.*", "12.*", "13.*"];

const RUNNER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/autobahn/binary_wstest.py");

/// The suite in one of its two modes, and the directory of its report.
struct Suite {
    child: Child,
    dir: PathBuf,
}

impl Suite {
    fn start(mode: &str, mut spec: Value) -> Self {
        let python = std::env::var_os("AUTOBAHN_PYTHON").expect("AUTOBAHN_PYTHON is set");
        let dir = std::env::temp_dir().join(format!("wsmux-{mode}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        spec["outdir"] = json!(dir);
        spec["cases"] = json!(["*"]);
        spec["exclude-cases"] = json!(NOT_OURS);
        spec["exclude-agent-cases"] = json!({});
        let path = dir.join("spec.json");
        std::fs::write(&path, spec.to_string()).unwrap();
        let child = Command::new(python)
            .arg(RUNNER)
            .args(["--mode", mode, "--webport", "0", "--spec"])
            .arg(path)
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self { child, dir }
    }

    /// Waits for the suite to end, and returns the cases by verdict.
    async fn verdicts(mut self) -> BTreeMap<String, Vec<String>> {
        self.child.wait().await.unwrap();
        let report = std::fs::read(self.dir.join("index.json")).unwrap();
        std::fs::remove_dir_all(self.dir).unwrap();
        let report: Value = serde_json::from_slice(&report).unwrap();
        let cases = report["wsmux"].as_object().unwrap();
        let mut verdicts = BTreeMap::<String, Vec<String>>::new();
        for (case, found) in cases {
            let verdict = format!("{} / {}", found["behavior"], found["behaviorClose"]);
            verdicts.entry(verdict.replace('"', "")).or_default().push(case.clone());
        }
        verdicts
    }
}

/// Checks that no case failed. Where the standards allow several behaviours, the suite does not
/// judge, and its verdict is `INFORMATIONAL`.
fn all_is_well(verdicts: &BTreeMap<String, Vec<String>>) {
    for (verdict, cases) in verdicts {
        eprintln!("{verdict}: {}", cases.len());
        let well = ["OK / OK", "INFORMATIONAL / INFORMATIONAL"].contains(&verdict.as_str());
        assert!(well, "{verdict}: {cases:?}");
    }
    assert!(verdicts["OK / OK"].len() > 150, "most cases are no mere information");
}

#[tokio::test]
#[ignore = "wants the Autobahn test suite: see tests/peers/autobahn/NOTES.md"]
async fn the_suite_finds_nothing_wrong_with_a_server() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut io, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buf = Vec::new();
                let request = read_head(&mut io, &mut buf, server::parse).await.unwrap();
                let headers = server::accept(&request, None, &Default::default()).unwrap();
                io.write_all(&server::switching_protocols(&headers)).await.unwrap();
                echo(&mut FramedSocket::new(io, &buf, Side::Server, LARGEST)).await
            });
        }
    });
    let spec = json!({ "servers": [{ "agent": "wsmux", "url": url }] });
    all_is_well(&Suite::start("fuzzingclient", spec).verdicts().await);
}

#[tokio::test]
#[ignore = "wants the Autobahn test suite: see tests/peers/autobahn/NOTES.md"]
async fn the_suite_finds_nothing_wrong_with_a_client() {
    // The suite cannot report which port the system gave it, so the test picks a free port.
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let suite = Suite::start("fuzzingserver", json!({ "url": format!("ws://127.0.0.1:{port}") }));
    for case in 1.. {
        let path = format!("/runCase?case={case}&agent=wsmux");
        let Some((io, buf)) = upgraded(port, &path).await else { break };
        echo(&mut FramedSocket::new(io, &buf, Side::Client, LARGEST)).await;
    }
    // The suite's server ends before it answers this request.
    upgraded(port, "/updateReports?agent=wsmux&shutdownOnComplete=true").await;
    all_is_well(&suite.verdicts().await);
}

/// Upgrades a stream to a WebSocket. Returns the stream and the bytes that followed the response,
/// or `None` if the path does not exist.
async fn upgraded(port: u16, path: &str) -> Option<(TcpStream, Vec<u8>)> {
    let mut io = loop {
        match TcpStream::connect(("127.0.0.1", port)).await {
            Ok(io) => break io,
            // Python takes some time to start, so this loop tries again.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    };
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEC==\r\n\r\n"
    );
    io.write_all(request.as_bytes()).await.unwrap();
    let mut buf = Vec::new();
    let response = read_head(&mut io, &mut buf, client::parse).await.ok()?;
    (response.status() == 101).then_some((io, buf))
}
