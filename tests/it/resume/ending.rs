//! How a connection without a socket ends.

use std::time::{Duration, Instant};

use wsmux::{
    ConnectionError, OpenError, ReadError, SessionState, WebSocketClient, WebSocketConnection,
    WebSocketServer,
};
use wsmux_testing::{
    cutter::Cut,
    interop::{code, within},
};

use super::{
    config_for, connect_plain, connect_tls, ended_by_the_loss, lose,
    place::{Ends, Place},
    suspended,
};

/// Connects two ends. After a loss each end waits for a new socket for this time.
async fn connect_for(timeout: Duration) -> Ends {
    let server = WebSocketServer::builder().config(config_for(timeout));
    let place = Place::start(server, "ws").await;
    let ends = place.connect(WebSocketClient::builder().config(config_for(timeout))).await;
    ends.talk().await;
    ends
}

fn is_loss(error: &ConnectionError) -> bool {
    matches!(error, ConnectionError::SocketLost(_))
}

/// Calls every method of a connection that can wait. Asserts that each call ends with the error of
/// the lost socket.
async fn every_call_ends(connection: &WebSocketConnection) {
    let mut stream = within("opening", connection.open_bi()).await.expect("a stream");
    let (send, recv) = stream.split();
    let stopped = send.stopped();
    let writing = async {
        loop {
            if let Err(error) = send.write_all(&[0; 65536]).await {
                return error;
            }
        }
    };
    let opening = async {
        let mut open = Vec::new();
        loop {
            match connection.open_uni().await {
                Ok(stream) => open.push(stream),
                Err(error) => return error,
            }
        }
    };
    let mut accepted = Vec::new();
    let accepting_bi = async {
        loop {
            match connection.accept_bi().await {
                Ok(stream) => accepted.push(stream),
                Err(error) => return error,
            }
        }
    };
    let mut accepted = Vec::new();
    let accepting_uni = async {
        loop {
            match connection.accept_uni().await {
                Ok(stream) => accepted.push(stream),
                Err(error) => return error,
            }
        }
    };
    let all = async {
        tokio::join!(
            writing,
            recv.read_chunk(1),
            opening,
            accepting_bi,
            accepting_uni,
            connection.read_datagram(),
            connection.closed(),
            stopped,
        )
    };
    let (wrote, read, opened, bi, uni, datagram, closed, stopped) = within("the end", all).await;
    assert!(
        matches!(&wrote, wsmux::WriteError::ConnectionLost(error) if is_loss(error)),
        "{wrote:?}"
    );
    assert!(matches!(&read, Err(ReadError::ConnectionLost(error)) if is_loss(error)), "{read:?}");
    assert!(matches!(&opened, OpenError::ConnectionLost(error) if is_loss(error)), "{opened:?}");
    for error in [Some(bi), Some(uni), datagram.err(), Some(closed)] {
        assert!(error.as_ref().is_some_and(is_loss), "{error:?}");
    }
    assert!(stopped.is_err(), "{stopped:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_timeout_every_call_ends_with_the_error_of_the_loss() {
    let ends = connect_for(Duration::from_millis(800)).await;
    ends.cutter.set_down(true);
    let calls = async {
        tokio::join!(every_call_ends(&ends.client), every_call_ends(&ends.server));
    };
    let mut events = [ends.client.events(), ends.server.events()];
    let cut = async {
        ends.cutter.forwarded(1).await;
        ends.cutter.cut(Cut::Reset);
        let start = Instant::now();
        for events in &mut events {
            suspended(events).await;
        }
        start
    };
    let ((), start) = tokio::join!(calls, cut);
    assert!(start.elapsed() >= Duration::from_millis(700), "{:?}", start.elapsed());
    for events in &mut events {
        assert_eq!(events.next().await, None);
    }
    within("an empty registry", async {
        while ends.place.server.connections() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_close_without_a_socket_is_over_at_once() {
    for ends in [connect_plain().await, connect_tls().await] {
        ends.cutter.set_down(true);
        lose(&ends).await;
        for connection in [&ends.client, &ends.server] {
            connection.close(code(5), b"enough");
            assert_eq!(connection.session_state(), SessionState::Ended);
            let closed = tokio::time::timeout(Duration::from_secs(10), connection.closed());
            let error = closed.await.expect("at once");
            assert!(matches!(error, ConnectionError::LocallyClosed), "{error:?}");
            let opened = connection.open_bi().await;
            assert!(matches!(opened, Err(OpenError::ConnectionLost(_))), "{opened:?}");
        }
    }
}

/// Closes one end while there is no socket, or drops that end's last handle. Asserts that the other
/// end learns of this once the client can dial again.
async fn is_told(of_server: bool, by_drop: bool) {
    let Ends { client, server, cutter, place: _place } = connect_plain().await;
    cutter.set_down(true);
    let mut events = [client.events(), server.events()];
    cutter.cut(Cut::Reset);
    for events in &mut events {
        suspended(events).await;
    }
    let (closing, other) = if of_server { (server, client) } else { (client, server) };
    let expected = match by_drop {
        true => {
            drop(closing);
            0
        }
        false => {
            closing.close(code(5), b"enough");
            5
        }
    };
    cutter.set_down(false);
    let error = within("the end", other.closed()).await;
    assert!(
        matches!(&error, ConnectionError::ApplicationClosed(close)
            if close.error_code == code(expected)),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_client_that_comes_back_learns_that_the_server_has_closed() {
    is_told(true, false).await;
    is_told(true, true).await;
}

#[tokio::test]
async fn a_server_learns_that_a_client_without_a_socket_has_closed() {
    is_told(false, false).await;
    is_told(false, true).await;
}

/// When a server has forgotten a session, the session also ends for the client, which is still
/// waiting for a new socket.
#[tokio::test]
async fn a_client_whose_server_has_given_up_ends_when_it_comes_back() {
    let server = WebSocketServer::builder().config(config_for(Duration::from_millis(200)));
    let place = Place::start(server, "ws").await;
    let client = config_for(Duration::from_secs(60));
    let ends = place.connect(WebSocketClient::builder().config(client)).await;
    ends.cutter.set_down(true);
    lose(&ends).await;
    ended_by_the_loss(&ends.server).await;
    // The shorter of the two timeouts applies to both ends.
    ended_by_the_loss(&ends.client).await;
}
