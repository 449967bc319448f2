//! Clients that send too much, too slowly or nothing, and so use up the server's resources.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};
use wsmux::{AcceptError, Config, WebSocketServer};

use super::{GOOD, Server, answer, status};

#[tokio::test]
async fn a_bomb_of_headers_is_cut_off() {
    let mut server = Server::strict().await;
    let one_line = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(200_000));
    let many_lines = format!("GET / HTTP/1.1\r\n{}", "X: y\r\n".repeat(30_000));
    let long_path = format!("GET /{} HTTP/1.1\r\n", "x".repeat(200_000));
    let blank = "\r\n".repeat(100_000);
    for bomb in [one_line, many_lines, long_path, blank] {
        let answer = server.answer_to(bomb.as_bytes()).await;
        assert_eq!(status(&answer), 431, "{answer}");
        assert_eq!(server.refusal().await, 431);
        server.still_serves().await;
    }
}

/// If the server closed its socket while the client is still sending, the connection would be reset
/// before the client has read the answer.
#[tokio::test]
async fn a_refused_client_can_finish_its_request() {
    let (near, mut far) = tokio::io::duplex(1024);
    let acceptor = WebSocketServer::builder().build().unwrap();
    let refused = tokio::spawn(async move { acceptor.from_io(near).await });
    let bomb = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(200_000));
    far.write_all(bomb.as_bytes()).await.unwrap();
    far.shutdown().await.unwrap();
    let mut answer = String::new();
    far.read_to_string(&mut answer).await.unwrap();
    assert_eq!(status(&answer), 431);
    assert!(matches!(refused.await.unwrap(), Err(AcceptError::Refused { .. })));
}

#[tokio::test]
async fn a_bomb_without_end_is_closed_on() {
    let mut server = Server::strict().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nX: ").await.unwrap();
    let chunk = vec![b'x'; 1 << 16];
    let mut sent = 0;
    let flood = async {
        while stream.write_all(&chunk).await.is_ok() {
            sent += chunk.len();
        }
    };
    timeout(Duration::from_secs(10), flood).await.expect("the server reads for ever");
    // The server reads only a bounded amount after the head; the rest is in the operating system's
    // buffers.
    assert!(sent < 32 << 20, "{sent}");
    assert_eq!(server.refusal().await, 431);
    server.still_serves().await;
}

#[tokio::test]
async fn slow_headers_time_out_whole() {
    let mut server = Server::strict().await;
    let start = Instant::now();
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let (mut read, mut write) = stream.split();
    let drip = async {
        for byte in GOOD.bytes().cycle() {
            if write.write_all(&[byte]).await.is_err() {
                break;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    let mut answer = Vec::new();
    tokio::select! {
        _ = drip => panic!("dripping has no end"),
        read = read.read_to_end(&mut answer) => read.unwrap(),
    };
    assert_eq!(status(std::str::from_utf8(&answer).unwrap()), 408);
    assert!(start.elapsed() >= Duration::from_millis(400), "{:?}", start.elapsed());
    drop(stream);
    let outcome = server.outcome().await;
    assert!(matches!(outcome, Err(AcceptError::HandshakeTimeout)), "{outcome:?}");
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    server.still_serves().await;
}

#[tokio::test]
async fn a_client_that_says_nothing_times_out() {
    let mut server = Server::strict().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(status(&answer(&mut stream).await), 408);
    drop(stream);
    assert!(matches!(server.outcome().await, Err(AcceptError::HandshakeTimeout)));
    server.still_serves().await;
}

#[tokio::test]
async fn a_client_that_goes_away_is_told_of() {
    let mut server = Server::strict().await;
    for sent in ["", "GET / HTTP/1.1\r\nHost"] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        drop(stream);
        let outcome = server.outcome().await;
        assert!(matches!(outcome, Err(AcceptError::Io(_))), "{outcome:?}");
        server.still_serves().await;
    }
}

#[tokio::test]
async fn half_open_handshakes_of_every_kind_hold_up_no_other_client() {
    // No timeout ends the silent clients while the good client is served.
    let mut config = Config::default();
    config.handshake_timeout(Duration::from_secs(600));
    let mut server = Server::new(WebSocketServer::builder().config(config)).await;
    let mut stuck = Vec::new();
    for _ in 0..50 {
        for start in ["", "G", "GET / HTTP/1.1\r\nHost: ", GOOD] {
            let mut stream = TcpStream::connect(server.address).await.unwrap();
            stream.write_all(start.as_bytes()).await.unwrap();
            stuck.push(stream);
        }
    }
    server.still_serves().await;
    assert!(server.outcomes.try_recv().is_err(), "the others wait");
}

/// The server runs out of file descriptors. The test runs in a process of its own, which has only a
/// few descriptors.
#[cfg(unix)]
#[test]
fn a_server_out_of_file_descriptors_takes_the_client_later() {
    let this = std::env::current_exe().unwrap();
    let status = std::process::Command::new("sh")
        .args(["-c", "ulimit -n 64; exec \"$0\" --ignored --exact \"$1\""])
        .arg(this)
        .arg("bad_input_connect::limits::out_of_file_descriptors")
        .status()
        .unwrap();
    assert!(status.success());
}

#[cfg(unix)]
#[tokio::test]
#[ignore = "takes all file descriptors; started by the test above"]
async fn out_of_file_descriptors() {
    let mut server = Server::strict().await;
    let mut files = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        files.push(file);
    }
    assert!(files.len() < 64);
    // This loop leaves one descriptor for the client, and none for the server's end of the
    // connection.
    files.pop();
    let stream = TcpStream::connect(server.address).await.unwrap();
    sleep(Duration::from_millis(300)).await;
    assert!(server.outcomes.try_recv().is_err());
    files.clear();
    drop(stream);
    assert!(matches!(server.outcome().await, Err(AcceptError::Io(_))));
    server.still_serves().await;
}
