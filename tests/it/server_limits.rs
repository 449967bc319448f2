//! Where a server listens, how many clients it accepts, and how it shuts down.

use wsmux_testing::server as support;

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use wsmux::{
    AcceptError, BindError, ConnectionError, Listener, OpenError, WebSocketClient,
    WebSocketConnection, WebSocketServer,
};

use support::*;

/// Returns both ends of the next connection.
async fn both(server: &WebSocketServer, url: &str) -> (WebSocketConnection, WebSocketConnection) {
    let client = WebSocketClient::builder().build().unwrap();
    let accept = async { server.accept().await.unwrap().await };
    let (client, server) = within(async { tokio::join!(client.connect(url), accept) }).await;
    (client.unwrap(), server.unwrap())
}

/// Waits until the server has `count` connections left.
async fn until_left(server: &WebSocketServer, count: usize) {
    within(async {
        while server.connections() != count {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Asserts that no client is accepted for a short time.
async fn assert_nobody(server: &WebSocketServer) {
    let accepted = tokio::time::timeout(Duration::from_millis(200), server.accept()).await;
    assert!(accepted.is_err(), "{accepted:?}");
}

// ---- where ----

#[tokio::test]
async fn a_server_listens_on_several_addresses() {
    let builder = WebSocketServer::builder();
    let server = builder.bind_all(["127.0.0.1:0", "127.0.0.1:0", "[::1]:0"]).await.unwrap();
    assert_eq!(server.local_addrs().len(), 3);
    assert_eq!(server.local_addr().unwrap(), server.local_addrs()[0]);
    for _ in 0..2 {
        for address in server.local_addrs() {
            let (client, accepted) = both(&server, &format!("ws://{address}")).await;
            assert_eq!(accepted.info().local_address(), Some(*address));
            echo(&client, &accepted).await;
        }
    }
    let taken = server.local_addr().unwrap();
    let failed = WebSocketServer::builder().bind_all(["127.0.0.1:0".parse().unwrap(), taken]).await;
    assert!(
        matches!(&failed, Err(BindError::Io(error)) if error.kind() == io::ErrorKind::AddrInUse),
        "{failed:?}"
    );
    let none: [&str; 0] = [];
    assert!(WebSocketServer::builder().bind_all(none).await.is_err());
}

#[tokio::test]
async fn all_of_ipv6_takes_ipv4_too_and_tells_its_addresses_as_such() {
    let server = WebSocketServer::builder().bind("[::]:0").await.unwrap();
    let port = server.local_addr().unwrap().port();
    for host in ["127.0.0.1", "[::1]"] {
        let (client, accepted) = both(&server, &format!("ws://{host}:{port}")).await;
        assert_eq!(accepted.remote_address(), client.info().local_address(), "not ::ffff:");
        assert_eq!(accepted.info().local_address(), client.remote_address());
        echo(&client, &accepted).await;
    }
}

#[tokio::test]
async fn both_families_can_be_named_with_one_port() {
    let port = tokio::net::TcpListener::bind("[::]:0").await.unwrap().local_addr().unwrap().port();
    let addresses = [format!("0.0.0.0:{port}"), format!("[::]:{port}")];
    let server = WebSocketServer::builder().bind_all(addresses).await.unwrap();
    assert_eq!(server.local_addrs().len(), 2);
    for host in ["127.0.0.1", "[::1]"] {
        let (client, accepted) = both(&server, &format!("ws://{host}:{port}")).await;
        echo(&client, &accepted).await;
    }
}

#[tokio::test]
async fn several_wait_for_clients_at_once() {
    let builder = WebSocketServer::builder();
    let server = builder.bind_all(["127.0.0.1:0", "127.0.0.1:0"]).await.unwrap();
    let accept = async || server.accept().await.unwrap();
    let connect = async |at: usize| TcpStream::connect(server.local_addrs()[at]).await.unwrap();
    let job =
        async { tokio::join!(accept(), accept(), accept(), connect(1), connect(0), connect(1)) };
    let (one, two, three, ..) = within(job).await;
    drop((one, two, three));
}

#[cfg(unix)]
#[tokio::test]
async fn a_unix_socket_serves_beside_tcp_and_leaves_nothing() {
    // The path of a Unix socket has to be short.
    let path = std::env::temp_dir().join(format!("wsmux-{}.sock", std::process::id()));
    let mut listeners = Listener::tcp(["127.0.0.1:0"]).await.unwrap();
    listeners.push(Listener::unix(&path).unwrap());
    let acceptor = WebSocketServer::builder().max_connections_per_address(Some(1)).build().unwrap();
    let server = WebSocketServer::with_listeners(listeners, acceptor);
    let client = WebSocketClient::builder().build().unwrap();
    // These clients have no address, so the limit for each address does not apply.
    let mut open = Vec::new();
    for _ in 0..2 {
        let connect = async {
            let stream = tokio::net::UnixStream::connect(&path).await.unwrap();
            client.from_io("ws://here/", stream).await.unwrap()
        };
        let (connecting, client) = within(async {
            tokio::join!(
                async {
                    let connecting = server.accept().await.unwrap();
                    assert_eq!(connecting.remote_address(), None);
                    connecting.await.unwrap()
                },
                connect
            )
        })
        .await;
        assert_eq!(connecting.remote_address(), None);
        echo(&client, &connecting).await;
        open.push((client, connecting));
    }
    let (client, accepted) = both(&server, &format!("ws://{}", server.local_addr().unwrap())).await;
    echo(&client, &accepted).await;
    // A path on which a server listens is refused.
    let taken = WebSocketServer::builder().bind_unix(&path);
    assert!(
        matches!(&taken, Err(BindError::Io(error)) if error.kind() == io::ErrorKind::AddrInUse),
        "{taken:?}"
    );
    drop(server);
    assert!(!path.exists());
    // The path is accepted although the file exists, because nobody listens on it.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let server = WebSocketServer::builder().bind_unix(&path).unwrap();
    assert!(server.local_addr().is_err());
    server.close();
    assert!(!path.exists());
    // A file that is no socket must not be removed.
    std::fs::write(&path, "a file").unwrap();
    WebSocketServer::builder().bind_unix(&path).unwrap_err();
    std::fs::remove_file(&path).unwrap();
}

// ---- how many ----

#[tokio::test]
async fn past_the_limit_of_connections_clients_wait_in_the_systems_queue() {
    let server =
        WebSocketServer::builder().max_connections(Some(2)).bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", server.local_addr().unwrap());
    let (one, _accepted_one) = both(&server, &url).await;
    let _other = both(&server, &url).await;
    let client = WebSocketClient::builder().build().unwrap();
    let third = tokio::spawn(async move { client.connect(&url).await });
    assert_nobody(&server).await;
    one.close(0u32.into(), b"");
    let connecting = within(server.accept()).await.unwrap();
    // A client counts towards the limit from the beginning of its handshake.
    assert_nobody(&server).await;
    let accepted = within(connecting).await.unwrap();
    echo(&within(third).await.unwrap().unwrap(), &accepted).await;
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn servers_that_share_an_acceptor_have_limits_of_their_own() {
    let acceptor = WebSocketServer::builder().max_connections(Some(1)).build().unwrap();
    let mut servers = Vec::new();
    for _ in 0..2 {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        servers.push(WebSocketServer::new(listener, acceptor.clone()));
    }
    let mut open = Vec::new();
    for server in &servers {
        let (client, accepted) =
            both(server, &format!("ws://{}", server.local_addr().unwrap())).await;
        echo(&client, &accepted).await;
        open.push((client, accepted));
    }
    assert_eq!(servers.iter().map(WebSocketServer::connections).sum::<usize>(), 2);
}

#[tokio::test]
async fn a_handshake_that_fails_gives_its_places_back() {
    let builder = WebSocketServer::builder();
    let builder = builder
        .max_connections(Some(1))
        .max_handshakes(Some(1))
        .max_connections_per_address(Some(1));
    let server = builder.bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    for dropped in [false, true] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let connecting = within(server.accept()).await.unwrap();
        if !dropped {
            stream.write_all(b"no HTTP\r\n\r\n").await.unwrap();
            stream.shutdown().await.unwrap();
            let failed = within(connecting).await.unwrap_err();
            assert!(matches!(failed, AcceptError::Refused { .. }), "{failed:?}");
        }
    }
    let (client, accepted) = both(&server, &format!("ws://{address}")).await;
    echo(&client, &accepted).await;
}

#[tokio::test]
async fn handshakes_under_way_are_limited_apart_from_connections() {
    let server =
        WebSocketServer::builder().max_handshakes(Some(1)).bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    let silent = TcpStream::connect(address).await.unwrap();
    let connecting = within(server.accept()).await.unwrap();
    let client = WebSocketClient::builder().build().unwrap();
    let url = format!("ws://{address}");
    let second = tokio::spawn(async move { client.connect(&url).await });
    assert_nobody(&server).await;
    drop(silent);
    let failed = within(connecting).await.unwrap_err();
    assert!(matches!(failed, AcceptError::Io(_)), "{failed:?}");
    let accepted = within(within(server.accept()).await.unwrap()).await.unwrap();
    // An established connection no longer counts as a handshake.
    let (client, other) = both(&server, &format!("ws://{address}")).await;
    echo(&client, &other).await;
    echo(&within(second).await.unwrap().unwrap(), &accepted).await;
}

#[tokio::test]
async fn an_address_that_only_connects_leaves_handshakes_to_others() {
    let builder =
        WebSocketServer::builder().max_handshakes(Some(3)).max_handshakes_per_address(Some(2));
    let server = builder.bind("[::]:0").await.unwrap();
    let port = server.local_addr().unwrap().port();
    let mut silent = Vec::new();
    for _ in 0..2 {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        silent.push((stream, within(server.accept()).await.unwrap()));
    }
    // Another client with this address is disconnected. A client with another address is accepted,
    // because one more handshake is allowed.
    let mut third = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (client, accepted) = both(&server, &format!("ws://[::1]:{port}")).await;
    echo(&client, &accepted).await;
    let read = within(third.read(&mut [0])).await;
    assert!(!matches!(read, Ok(1)), "it was closed without a word: {read:?}");
    // Once a handshake is over, it no longer counts. The connection that it made does not count
    // either.
    silent.pop();
    for _ in 0..3 {
        let (client, accepted) = both(&server, &format!("ws://127.0.0.1:{port}")).await;
        echo(&client, &accepted).await;
    }
}

#[tokio::test]
async fn past_an_addresss_share_its_clients_are_closed_and_others_accepted() {
    let builder = WebSocketServer::builder().max_connections_per_address(Some(2));
    let server = builder.bind("[::]:0").await.unwrap();
    let port = server.local_addr().unwrap().port();
    let ipv4 = format!("ws://127.0.0.1:{port}");
    let (one, _accepted) = both(&server, &ipv4).await;
    let _other = both(&server, &ipv4).await;
    let mut third = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    // The third client is disconnected. The next client, which has another address, is accepted.
    let (client, accepted) = both(&server, &format!("ws://[::1]:{port}")).await;
    echo(&client, &accepted).await;
    let read = within(third.read(&mut [0])).await;
    assert!(!matches!(read, Ok(1)), "it was closed without a word: {read:?}");
    one.close(0u32.into(), b"");
    until_left(&server, 2).await;
    let (client, accepted) = both(&server, &ipv4).await;
    echo(&client, &accepted).await;
}

// ---- how it ends ----

#[tokio::test]
async fn a_shutdown_lets_what_is_open_end_and_nothing_new_begin() {
    let server = WebSocketServer::builder().bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    let url = format!("ws://{address}");
    let (idle, _accepted_idle) = both(&server, &url).await;
    let (busy, accepted_busy) = both(&server, &url).await;
    let (gone, _accepted_gone) = both(&server, &url).await;
    gone.close(9u32.into(), b"");
    until_left(&server, 2).await;
    let mut finishing = busy.open_bi().await.unwrap();
    finishing.write_all(b"12").await.unwrap();
    let mut served = within(accepted_busy.accept_bi()).await.unwrap();
    // This client has not sent anything when the shutdown begins.
    let mut silent = TcpStream::connect(address).await.unwrap();
    let handshake = tokio::spawn(within(server.accept()).await.unwrap());

    let shutdown = server.shutdown(Duration::MAX, 77u32.into(), b"maintenance");
    let story = async {
        let mut answer = String::new();
        within(silent.read_to_string(&mut answer)).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        drop(silent);
        let failed = within(handshake).await.unwrap().unwrap_err();
        assert!(matches!(failed, AcceptError::ShuttingDown), "{failed:?}");
        assert!(server.accept().await.is_none());
        TcpStream::connect(address).await.unwrap_err();
        // An idle connection ends at once, and cleanly.
        match within(idle.closed()).await {
            ConnectionError::ApplicationClosed(close) => assert_eq!(close.error_code, 0u32.into()),
            other => panic!("{other:?}"),
        }
        // An open stream continues to its end, and new streams are refused.
        let failed = accepted_busy.open_bi().await.unwrap_err();
        assert!(matches!(failed, OpenError::Draining), "{failed:?}");
        let mut bytes = [0; 2];
        served.read_exact(&mut bytes).await.unwrap();
        served.write_all(&bytes).await.unwrap();
        served.send().finish().unwrap();
        finishing.send().finish().unwrap();
        assert_eq!(within(finishing.recv().read_to_end(9)).await.unwrap(), b"12"[..]);
        assert!(within(served.recv().read_to_end(9)).await.unwrap().is_empty());
        within(busy.closed()).await;
    };
    let (report, ()) = within(async { tokio::join!(shutdown, story) }).await;
    assert_eq!((report.drained, report.closed), (2, 0));
    assert_eq!(server.connections(), 0);
    let again = within(server.shutdown(Duration::MAX, 0u32.into(), b"")).await;
    assert_eq!((again.drained, again.closed), (0, 0));
}

#[tokio::test]
async fn what_has_not_ended_at_a_shutdowns_deadline_is_closed_with_the_code() {
    let server = WebSocketServer::builder().bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", server.local_addr().unwrap());
    let mut stuck = Vec::new();
    for _ in 0..2 {
        let (client, accepted) = both(&server, &url).await;
        let mut stream = client.open_bi().await.unwrap();
        stream.write_all(b"1").await.unwrap();
        let served = within(accepted.accept_bi()).await.unwrap();
        stuck.push((client, accepted, stream, served));
    }
    let code = 77u32.into();
    let shutdown = server.shutdown(Duration::from_millis(100), code, b"maintenance");
    let report = within(shutdown).await;
    assert_eq!((report.drained, report.closed), (0, 2));
    assert_eq!(server.connections(), 0);
    for (client, ..) in &stuck {
        match within(client.closed()).await {
            ConnectionError::ApplicationClosed(close) => {
                assert_eq!((close.error_code, &close.reason[..]), (code, &b"maintenance"[..]));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_hook_that_waits_is_given_up_by_a_shutdown() {
    let builder = WebSocketServer::builder();
    let (asked, mut was_asked) = tokio::sync::mpsc::unbounded_channel();
    let server = builder.authorizer(move |_: wsmux::authorize::UpgradeRequest| {
        asked.send(()).unwrap();
        std::future::pending()
    });
    let server = server.bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", server.local_addr().unwrap());
    let client = WebSocketClient::builder().build().unwrap();
    let refused = tokio::spawn(async move { client.connect(&url).await });
    let handshake = tokio::spawn(within(server.accept()).await.unwrap());
    within(was_asked.recv()).await.unwrap();
    let report = within(server.shutdown(Duration::MAX, 0u32.into(), b"")).await;
    assert_eq!((report.drained, report.closed), (0, 0));
    // The process may exit now, because the client has its answer.
    assert!(handshake.is_finished());
    let refused = within(refused).await.unwrap().unwrap_err();
    assert!(
        matches!(&refused, wsmux::ConnectError::Refused { status, .. } if *status == 503),
        "{refused:?}"
    );
    let failed = within(handshake).await.unwrap().unwrap_err();
    assert!(matches!(failed, AcceptError::ShuttingDown), "{failed:?}");
}
