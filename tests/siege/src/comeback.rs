//! Measures what many connections without sockets cost, and how long they take to come back. A
//! proxy restarts, so all its connections lose their sockets at once.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp},
    sync::watch,
    task::JoinSet,
};
use wsmux::{Config, ConnectionEvent, WebSocketClient};

use crate::{
    crowd::{SPARE, answers, many_connections, wait_for_question},
    process::{self, Part},
    victim::{Address, Heap, RESUME_TIMEOUT},
};

/// What the clients have done so far.
#[derive(Debug, Serialize, Deserialize)]
enum Step {
    Ready,
    Open,
    Suspended,
    /// How many seconds passed from the proxy's return until a connection was back: the median, the
    /// 99th percentile, and the time of the last connection.
    Back {
        median: f64,
        p99: f64,
        last: f64,
    },
}

pub async fn run(connections: u64, tls: bool) -> Result<()> {
    let mut arguments = vec!["victim", "--resume"];
    arguments.extend(tls.then_some("--tls"));
    let mut server = Part::start(&arguments)?;
    let address: Address = server.says().await?;
    let mut proxy = Part::start(&["proxy", &address.socket.to_string(), &connections.to_string()])?;
    let Address { socket, .. } = proxy.says().await?;
    let url = address.url.replace(&address.socket.to_string(), &socket.to_string());
    let mut clients = Part::start(&["comeback-clients", &url, &connections.to_string()])?;
    let Step::Ready = clients.says().await? else { bail!("the clients are out of step") };
    let before = (server.memory()?.now, server.ask::<Heap>().await?.now);
    let Step::Open = clients.ask().await? else { bail!("the clients are out of step") };
    let open = (server.memory()?.now, server.ask::<Heap>().await?.now);

    // This question makes the proxy cut all connections, and refuse new connections from now on.
    proxy.ask::<()>().await?;
    let Step::Suspended = clients.ask().await? else { bail!("the clients are out of step") };
    let suspended = (server.memory()?.now, server.ask::<Heap>().await?.now);
    let files = server.files()?;

    proxy.ask::<()>().await?;
    let Step::Back { median, p99, last } = clients.ask().await? else {
        bail!("the clients are out of step")
    };
    let after = (server.memory()?.now, server.ask::<Heap>().await?.now);
    let each = |memory: (u64, u64)| {
        let [resident, allocated] = [(memory.0, before.0), (memory.1, before.1)]
            .map(|(now, before)| now.saturating_sub(before) / connections);
        format!("{resident} bytes resident, {allocated} allocated")
    };
    println!("{connections} connections, TLS {tls}");
    println!("server, each with a socket:     {}", each(open));
    println!("server, each without a socket:  {}, {files} files open in all", each(suspended));
    println!("server, each with a new socket: {}", each(after));
    println!("back after the proxy: median {median:.2} s, p99 {p99:.2} s, last {last:.2} s");
    clients.end().await?;
    proxy.end().await?;
    server.end().await
}

/// Runs the process of the clients.
pub async fn clients(url: &str, connections: u64) -> Result<()> {
    process::reserve_files(connections + SPARE)?;
    let mut config = Config::default();
    config.resume_timeout(Some(RESUME_TIMEOUT));
    let client = WebSocketClient::builder().config(config).danger_accept_any_certificate();
    let client = Arc::new(client.build()?);
    drop(many_connections(&client, url, 1).await?);
    process::say(&Step::Ready)?;
    wait_for_question().await?;

    let mut kept = many_connections(&client, url, connections).await?;
    let mut listeners: Vec<_> = kept.iter().map(|(_, connection)| connection.events()).collect();
    process::say(&Step::Open)?;
    wait_for_question().await?;

    for events in &mut listeners {
        let event = events.next().await;
        ensure!(event == Some(ConnectionEvent::Suspended), "{event:?}");
    }
    process::say(&Step::Suspended)?;
    wait_for_question().await?;

    let start = Instant::now();
    let mut waiting = JoinSet::new();
    for mut events in listeners {
        waiting.spawn(async move {
            match events.next().await {
                Some(ConnectionEvent::Resumed { .. }) => Ok(start.elapsed()),
                other => Err(anyhow::anyhow!("{other:?}")),
            }
        });
    }
    let mut times = Vec::new();
    while let Some(time) = waiting.join_next().await {
        times.push(time??);
    }
    times.sort_unstable();
    let at = |part: f64| {
        let nth = ((times.len() as f64 * part) as usize).min(times.len() - 1);
        times.get(nth).map_or(0.0, Duration::as_secs_f64)
    };
    // Each connection works as before.
    for (stream, connection) in &mut kept {
        answers(stream).await?;
        ensure!(connection.session_stats().resumptions == 1, "another number of resumptions");
    }
    process::say(&Step::Back { median: at(0.5), p99: at(0.99), last: at(1.0) })?;
    process::serve(|| Ok(())).await
}

/// Runs a proxy, which the parent process controls by questions. On the first question the proxy
/// cuts all connections, and refuses new connections from then on. On the second question the proxy
/// accepts connections again.
pub async fn proxy(server: SocketAddr, connections: u64) -> Result<()> {
    process::reserve_files(2 * connections + SPARE)?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let socket = listener.local_addr()?;
    process::say(&Address { url: String::new(), socket })?;
    let (down, is_down) = watch::channel(false);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            if *is_down.borrow() {
                let _ = client.set_zero_linger();
                continue;
            }
            let mut is_down = is_down.clone();
            tokio::spawn(async move {
                let server = TcpStream::connect(server).await.context("the server")?;
                let (mut client, mut server) = (client.into_split(), server.into_split());
                let both = async {
                    tokio::join!(
                        copy(&mut client.0, &mut server.1),
                        copy(&mut server.0, &mut client.1)
                    );
                };
                tokio::select! {
                    () = both => {}
                    _ = is_down.wait_for(|down| *down) => {}
                }
                anyhow::Ok(())
            });
        }
    });
    process::serve(move || {
        down.send_modify(|down| *down = !*down);
        Ok(())
    })
    .await
}

/// Copies with a small buffer, because there are many connections.
async fn copy(from: &mut tcp::OwnedReadHalf, to: &mut tcp::OwnedWriteHalf) {
    let mut buf = [0; 1024];
    while let Ok(len @ 1..) = from.read(&mut buf).await {
        if to.write_all(&buf[..len]).await.is_err() {
            break;
        }
    }
    let _ = to.shutdown().await;
}
