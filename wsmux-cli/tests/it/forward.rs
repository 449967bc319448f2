use std::{
    io::ErrorKind,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Interest},
    net::TcpStream,
    process::Command,
};
use wsmux::WebSocketServer;

use super::{
    support::{TOKEN, Wsmux, far, near, run, within},
    tcp::{Middle, answers_after_fin, echo_server, echoes, listener},
};

/// Returns bytes that are not all the same, so that a swapped block is detected.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at ^ (at >> 8) ^ (at >> 16)) as u8).collect()
}

#[tokio::test]
async fn both_directions_carry_all_and_half_close() {
    let target = answers_after_fin().await;
    let (_far, url) = far(&["--target", &target, "--token", TOKEN, "--tls"]).await;
    let (_near, address) = near(&url, &["--token", TOKEN, "--insecure"]).await;
    let mut tcp = TcpStream::connect(address).await.unwrap();
    // The server sends first.
    let mut hello = [0; 5];
    within(tcp.read_exact(&mut hello)).await.unwrap();
    assert_eq!(&hello, b"hello");
    let sent = pattern(10 * 1024 * 1024);
    within(tcp.write_all(&sent)).await.unwrap();
    tcp.shutdown().await.unwrap();
    let mut answer = Vec::new();
    within(tcp.read_to_end(&mut answer)).await.unwrap();
    assert_eq!(answer.len(), sent.len());
    assert!(answer == sent, "other bytes came back");
}

#[tokio::test]
async fn a_hundred_tcp_connections_share_one_websocket() {
    let target = echo_server().await;
    let (_far, url) = far(&["--target", &target, "--allow-anyone"]).await;
    let mut middle = Middle::new(&url).await;
    let (_near, address) = near(&middle.url(), &[]).await;
    let mut open = Vec::new();
    for number in 0..100_u8 {
        let mut tcp = TcpStream::connect(address).await.unwrap();
        echoes(&mut tcp, &[number; 1000]).await;
        open.push(tcp);
    }
    for (number, tcp) in (100..200_u8).zip(&mut open) {
        echoes(tcp, &[number; 1000]).await;
    }
    assert_eq!(middle.count(), 1);
}

#[tokio::test]
async fn a_stalled_tcp_connection_does_not_stop_another() {
    // How many bytes have been written to the first connection. It increases until the connection
    // accepts no more.
    let written = Arc::new(AtomicU64::new(0));
    let (listener, target) = listener().await;
    let flood = written.clone();
    tokio::spawn(async move {
        let (mut stalled, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            while let Ok(len) = stalled.write(&[0; 65536]).await {
                flood.fetch_add(len as u64, Ordering::Relaxed);
            }
        });
        let (tcp, _) = listener.accept().await.unwrap();
        let (mut read, mut write) = tcp.into_split();
        let _ = tokio::io::copy(&mut read, &mut write).await;
    });
    let (_far, url) = far(&["--target", &target, "--allow-anyone"]).await;
    let (_near, address) = near(&url, &[]).await;
    let mut unread = TcpStream::connect(address).await.unwrap();
    within(unread.read_exact(&mut [0])).await.unwrap();

    let mut other = TcpStream::connect(address).await.unwrap();
    let block = pattern(64 * 1024);
    // Continues until the count has not changed for 50 round trips.
    let (mut before, mut still) = (0, 0);
    while still < 50 {
        echoes(&mut other, &block).await;
        let now = written.load(Ordering::Relaxed);
        still = if now == before { still + 1 } else { 0 };
        before = now;
    }
    assert!(before > 1024 * 1024, "{before} bytes are less than a window");
}

#[tokio::test]
async fn a_target_that_refuses_ends_one_tcp_connection_alone() {
    let (listener, target) = listener().await;
    let (_far, url) = far(&["--target", &target, "--allow-anyone"]).await;
    let (_near, address) = near(&url, &[]).await;
    let mut first = TcpStream::connect(address).await.unwrap();
    let (mut accepted, _) = within(listener.accept()).await.unwrap();
    drop(listener);

    // The reset may already arrive while connecting.
    let second = async { TcpStream::connect(address).await?.read(&mut [0]).await };
    let error = within(second).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);

    accepted.write_all(b"still here").await.unwrap();
    let mut read = [0; 10];
    within(first.read_exact(&mut read)).await.unwrap();
    assert_eq!(&read, b"still here");
}

#[tokio::test]
async fn a_reset_is_a_reset_in_both_directions() {
    let (listener, target) = listener().await;
    let (_far, url) = far(&["--target", &target, "--allow-anyone"]).await;
    let (_near, address) = near(&url, &[]).await;
    for client_resets in [true, false] {
        let mut client = TcpStream::connect(address).await.unwrap();
        let (mut server, _) = within(listener.accept()).await.unwrap();
        client.write_all(b"a").await.unwrap();
        within(server.read_exact(&mut [0])).await.unwrap();
        let (resets, mut other) = if client_resets { (client, server) } else { (server, client) };
        resets.set_zero_linger().unwrap();
        drop(resets);
        let error = within(other.read(&mut [0])).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{client_resets}");
    }
}

/// Port scans and health checks reset their connections at once. Each of them cancels a stream, and
/// the far end must not end the WebSocket because of that.
#[tokio::test]
async fn clients_that_reset_at_once_do_not_end_the_tunnel() {
    let target = echo_server().await;
    let serve = ["--target", &target, "--allow-anyone", "--max-streams", "100"];
    let (_far, url) = far(&serve).await;
    let (_near, address) = near(&url, &[]).await;
    let mut stays = TcpStream::connect(address).await.unwrap();
    echoes(&mut stays, b"before").await;
    // 2,000 connections exceed the library's budget for cancelled streams, which is ten times the
    // limit on open streams.
    for _ in 0..2_000 {
        let client = TcpStream::connect(address).await.unwrap();
        client.set_zero_linger().unwrap();
    }
    let mut last = TcpStream::connect(address).await.unwrap();
    echoes(&mut last, b"last").await;
    echoes(&mut stays, b"after").await;
}

/// An HTTP server that refuses an upload may behave like this.
#[tokio::test]
async fn an_answer_reaches_a_client_whose_upload_is_stopped() {
    // The near end may notice the stop when it writes or while it waits. With several rounds, both
    // cases are likely to occur.
    for round in 0..20 {
        answered_upload(round).await;
    }
}

async fn answered_upload(round: u32) {
    let answer = pattern(1024 * 1024);
    let server = WebSocketServer::builder().protocol("wsmux-forward");
    let server = server.bind("127.0.0.1:0").await.unwrap();
    let (_near, address) = {
        let url = format!("ws://{}/", server.local_addr().unwrap());
        let answer = answer.clone();
        tokio::spawn(async move {
            let connection = server.accept().await.unwrap().await.unwrap();
            let (mut send, mut recv) = connection.accept_bi().await.unwrap().into_split();
            recv.stop(1_u8.into()).unwrap();
            send.write_all(&answer).await.unwrap();
            send.finish().unwrap();
            connection.closed().await;
        });
        near(&url, &[]).await
    };
    let (mut read, mut write) = TcpStream::connect(address).await.unwrap().into_split();
    let upload = tokio::spawn(async move { while write.write_all(&[0; 65536]).await.is_ok() {} });
    let mut came = Vec::new();
    within(read.read_to_end(&mut came)).await.unwrap();
    assert_eq!(came.len(), answer.len(), "round {round}");
    assert!(came == answer, "other bytes came in round {round}");
    upload.abort();
}

#[tokio::test]
async fn a_near_end_connects_again_after_a_loss() {
    let target = echo_server().await;
    let (_far, url) = far(&["--target", &target, "--allow-anyone"]).await;
    let mut middle = Middle::new(&url).await;
    let (_near, address) = near(&middle.url(), &[]).await;
    let mut before = TcpStream::connect(address).await.unwrap();
    echoes(&mut before, b"before").await;
    middle.cut().await;
    let error = within(before.read(&mut [0])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    middle.next().await;
    let mut after = TcpStream::connect(address).await.unwrap();
    echoes(&mut after, b"after").await;
}

/// The client has received everything from the target, and sends nothing.
#[tokio::test]
async fn a_half_closed_connection_ends_with_its_websocket() {
    let (listener, target) = listener().await;
    let (_far, url) = far(&["--target", &target, "--allow-anyone"]).await;
    let mut middle = Middle::new(&url).await;
    let (_near, address) = near(&middle.url(), &[]).await;
    let mut tcp = TcpStream::connect(address).await.unwrap();
    let (mut there, _) = within(listener.accept()).await.unwrap();
    there.write_all(b"answer").await.unwrap();
    there.shutdown().await.unwrap();
    let mut answer = Vec::new();
    within(tcp.read_to_end(&mut answer)).await.unwrap();
    assert_eq!(answer, b"answer");
    middle.cut().await;
    within(tcp.ready(Interest::ERROR)).await.unwrap();
}

#[tokio::test]
async fn in_reverse_the_far_end_listens() {
    let target = answers_after_fin().await;
    let serve = ["--reverse", "--listen", "127.0.0.1:0", "--token", TOKEN];
    let (mut far, url) = far(&serve).await;
    let address = far.says("reverse: listening on ").await;
    // A TCP client can connect even before the near end is started.
    let mut tcp = TcpStream::connect(&address).await.unwrap();
    let to = ["forward", "--reverse", "--target", &target, "--to", &url, "--token", TOKEN];
    let mut near = Wsmux::start(&to);
    assert_eq!(near.says("forwarding to ").await, target);
    tcp.write_all(b", world").await.unwrap();
    tcp.shutdown().await.unwrap();
    let mut answer = String::new();
    within(tcp.read_to_string(&mut answer)).await.unwrap();
    assert_eq!(answer, "hello, world");
}

#[tokio::test]
async fn a_far_end_that_does_not_allow_a_direction_refuses_it() {
    let target = echo_server().await;
    let (_far, url) = far(&["--target", &target, "--allow-anyone"]).await;
    let reverse = ["forward", "--reverse", "--target", &target, "--to", &url];
    let (code, stdout, stderr) = run(&reverse).await;
    assert_eq!((code, &*stdout), (1, ""));
    assert!(stderr.starts_with("error: ") && stderr.lines().count() == 1, "{stderr}");
    assert!(stderr.contains("does not allow this direction"), "{stderr}");

    let serve = ["--reverse", "--listen", "127.0.0.1:0", "--allow-anyone"];
    let (_far, url) = far(&serve).await;
    let (code, stdout, stderr) = run(&["forward", "--listen", "127.0.0.1:0", "--to", &url]).await;
    assert_eq!((code, &*stdout), (1, ""));
    assert!(stderr.contains("does not allow this direction"), "{stderr}");
}

#[tokio::test]
async fn a_wrong_token_is_refused_and_shown_nowhere() {
    let target = echo_server().await;
    let (_far, url) = far(&["--target", &target, "--token", TOKEN]).await;
    for given in [&["--token", "Wr0ng-one"][..], &[]] {
        let args = ["forward", "--listen", "127.0.0.1:0", "--to", &url];
        let (code, stdout, stderr) = run(&[&args, given].concat()).await;
        assert_eq!((code, &*stdout), (1, ""));
        assert!(stderr.contains("401") && stderr.contains("--token"), "{stderr}");
        assert!(!stderr.contains("Wr0ng") && stderr.lines().count() == 1, "{stderr}");
    }
}

/// The programs at the two ends are curl and Python's HTTP server. The HTTP server closes the TCP
/// connection first.
#[tokio::test]
async fn curl_gets_a_page_through_the_forward() {
    let directory = env!("CARGO_MANIFEST_DIR");
    let server = Command::new("python3")
        .args(["-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", directory])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    let curl = Command::new("curl").arg("--version").stdout(Stdio::null()).status().await;
    let (Ok(mut server), Ok(_)) = (server, curl) else {
        eprintln!("skipped: there is no curl or no python3");
        return;
    };
    // "Serving HTTP on 127.0.0.1 port 41717 (http://127.0.0.1:41717/) ..."
    let mut line = String::new();
    within(BufReader::new(server.stdout.take().unwrap()).read_line(&mut line)).await.unwrap();
    let Some(port) = line.split_whitespace().nth(5) else {
        eprintln!("skipped: python3 serves nothing");
        return;
    };
    let target = format!("127.0.0.1:{port}");

    let (_far, url) = far(&["--target", &target, "--allow-anyone"]).await;
    let (_near, address) = near(&url, &[]).await;
    let page = format!("http://{address}/Cargo.toml");
    let curl = Command::new("curl").args(["-sS", "--fail", "--noproxy", "*", &page]).output();
    let output = within(curl).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.stdout, std::fs::read(format!("{directory}/Cargo.toml")).unwrap());
}
