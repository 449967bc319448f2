//! Measures the cost of many idle connections with one stream each, and of many idle streams on one
//! connection.

use std::{path::Path, sync::Arc};

use anyhow::{Context, Result, ensure};
use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use wsmux::{Config, WebSocketClient, WebSocketConnection, WebSocketStream};

use crate::{
    process::{self, Part},
    victim::Address,
};

/// How many connections are opened at the same time. If there were fewer, handshakes would wait for
/// each other.
const AT_ONCE: u64 = 32;
/// How many file descriptors are reserved besides the one for each connection.
pub const SPARE: u64 = 200;

#[derive(Debug, Serialize)]
struct Cost {
    what: &'static str,
    count: u64,
    /// The server's resident memory in bytes for each connection or stream.
    server: f64,
    /// The clients' resident memory in bytes for each connection or stream.
    client: f64,
    seconds: f64,
    /// How many file descriptors the server had open when all connections were open.
    files: usize,
}

/// What the clients have done so far.
#[derive(Debug, Serialize, Deserialize, PartialEq)]
enum Step {
    Ready,
    Open { seconds: f64 },
    Answered,
}

pub async fn run(connections: u64, streams: u64, json: Option<&Path>) -> Result<()> {
    let costs = [
        measure("connections with one stream", connections, 1).await?,
        measure("streams of one connection", 1, streams).await?,
    ];
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(["what", "open", "server, bytes each", "client", "seconds", "server's files"]);
    for cost in &costs {
        table.add_row([
            cost.what.to_owned(),
            cost.count.to_string(),
            format!("{:.0}", cost.server),
            format!("{:.0}", cost.client),
            format!("{:.1}", cost.seconds),
            cost.files.to_string(),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    println!("{table}");
    if let Some(path) = json {
        std::fs::write(path, serde_json::to_string_pretty(&costs)?)?;
    }
    Ok(())
}

async fn measure(what: &'static str, connections: u64, streams: u64) -> Result<Cost> {
    let [connections_arg, streams_arg] = [connections, streams].map(|count| count.to_string());
    // The server permits one stream more than is counted, for the call that warms up both ends.
    let limit = (streams + 1).to_string();
    let mut arguments = vec!["victim"];
    if streams > 1 {
        arguments.extend(["--streams", &limit]);
    }
    let mut server = Part::start(&arguments)?;
    let address: Address = server.says().await?;
    let mut clients = Part::start(&[
        "crowd-clients",
        &address.url,
        "--connections",
        &connections_arg,
        "--streams",
        &streams_arg,
    ])?;
    ensure!(clients.says::<Step>().await? == Step::Ready, "the clients are out of step");
    let before = [server.memory()?.now, clients.memory()?.now];
    let Step::Open { seconds } = clients.ask().await? else {
        anyhow::bail!("the clients are out of step")
    };
    let after = [server.memory()?.now, clients.memory()?.now];
    let files = server.files()?;
    ensure!(clients.ask::<Step>().await? == Step::Answered, "the clients are out of step");
    let count = connections * streams;
    let [server_each, client_each] =
        [0, 1].map(|end| after[end].saturating_sub(before[end]) as f64 / count as f64);
    clients.end().await?;
    server.end().await?;
    Ok(Cost { what, count, server: server_each, client: client_each, seconds, files })
}

/// Runs the process of the clients.
pub async fn clients(url: &str, connections: u64, streams: u64) -> Result<()> {
    process::reserve_files(connections + SPARE)?;
    let config = Config::default();
    let client = Arc::new(WebSocketClient::builder().config(config).build()?);
    // This connection is opened before the count begins, because the first connection has costs
    // that later connections do not have.
    let first = client.connect(url).await?;
    drop(hold(&first).await?);
    process::say(&Step::Ready)?;
    wait_for_question().await?;

    let start = std::time::Instant::now();
    let mut kept = if connections == 1 {
        many_streams(&first, streams).await?
    } else {
        let kept = many_connections(&client, url, connections).await?;
        // The stream keeps its connection open.
        kept.into_iter().map(|(stream, _)| stream).collect()
    };
    process::say(&Step::Open { seconds: start.elapsed().as_secs_f64() })?;
    wait_for_question().await?;
    for stream in &mut kept {
        answers(stream).await?;
    }
    process::say(&Step::Answered)?;
    process::serve(|| Ok(())).await
}

/// Waits for a question by reading a single byte. The bytes after that byte belong to the next
/// question.
pub async fn wait_for_question() -> Result<()> {
    let read = || std::io::Read::read(&mut std::io::stdin(), &mut [0]);
    ensure!(tokio::task::spawn_blocking(read).await?? == 1, "nobody asks");
    Ok(())
}

async fn many_streams(
    connection: &WebSocketConnection,
    streams: u64,
) -> Result<Vec<WebSocketStream>> {
    let mut kept = Vec::new();
    for _ in 0..streams {
        kept.push(hold(connection).await?);
    }
    Ok(kept)
}

pub async fn many_connections(
    client: &Arc<WebSocketClient>,
    url: &str,
    connections: u64,
) -> Result<Vec<(WebSocketStream, WebSocketConnection)>> {
    let mut openers = JoinSet::new();
    for first in 0..AT_ONCE {
        let (client, url) = (client.clone(), url.to_owned());
        openers.spawn(async move {
            let mut kept = Vec::new();
            for _ in (first..connections).step_by(AT_ONCE as usize) {
                let connection = client.connect(&url).await?;
                kept.push((hold(&connection).await?, connection));
            }
            Ok::<_, anyhow::Error>(kept)
        });
    }
    let mut kept = Vec::new();
    while let Some(opener) = openers.join_next().await {
        kept.extend(opener??);
    }
    ensure!(kept.len() as u64 == connections, "{} of {connections} are open", kept.len());
    Ok(kept)
}

/// Opens a stream that both ends keep open after one byte in each direction. The stream keeps its
/// connection open as well.
async fn hold(connection: &WebSocketConnection) -> Result<WebSocketStream> {
    let mut stream = connection.open_bi().await?;
    answers(&mut stream).await?;
    Ok(stream)
}

pub async fn answers(stream: &mut WebSocketStream) -> Result<()> {
    stream.send().write_all(b"?").await?;
    let mut answer = [0];
    stream.recv().read_exact(&mut answer).await.context("an echo")?;
    ensure!(answer == *b"?", "a wrong answer");
    Ok(())
}
