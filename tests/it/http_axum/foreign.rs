//! Peers other than wsmux: the crate `qmux` over HTTP/1.1, and HTTP/2 frames written by hand.

use std::time::Duration;

use bytes::Bytes;
use h2::{Reason, client::SendRequest, ext::Protocol};
use tokio::net::{TcpListener, TcpStream};
use web_transport_trait::{RecvStream as _, SendStream as _, Session as _};
use wsmux::{
    Config, ConnectError, Http2Client, WebSocketClient,
    http::{Method, Request, Response, StatusCode, Version, header},
};

use super::server::{Kind, Server, exchange, version, within};

#[tokio::test]
async fn the_crate_qmux_gets_its_connection_on_the_route() {
    let server = Server::start(Kind::PLAIN).await;
    let (client, url) = (qmux::ws::Client::new(), server.url("/mux"));
    let session = within("their connection", client.connect(&url)).await.unwrap();
    let accepted = server.accepted().await;
    assert_eq!(version(&accepted), Version::HTTP_11);
    let (mut send, mut recv) = within("their opening", session.open_bi()).await.unwrap();
    let chunk = Bytes::from(vec![7; 100_000]);
    let write = async {
        send.write_chunk(chunk.clone()).await.unwrap();
        send.finish().unwrap();
    };
    let ((), read) = within("an echo", async { tokio::join!(write, recv.read_all()) }).await;
    assert_eq!(read.unwrap(), chunk);
}

async fn h2_client(server: &Server) -> SendRequest<Bytes> {
    let tcp = TcpStream::connect(server.address).await.unwrap();
    let (send, mut connection) = h2::client::handshake(tcp).await.unwrap();
    let mut ping_pong = connection.ping_pong().unwrap();
    tokio::spawn(connection);
    within("SETTINGS", ping_pong.ping(h2::Ping::opaque())).await.unwrap();
    assert!(send.is_extended_connect_protocol_enabled());
    send
}

fn connect(server: &Server) -> Request<()> {
    Request::builder()
        .method(Method::CONNECT)
        .version(Version::HTTP_2)
        .uri(format!("http://{}/mux", server.address))
        .extension(Protocol::from_static("websocket"))
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .header(header::SEC_WEBSOCKET_PROTOCOL, "qmux-02")
        .body(())
        .unwrap()
}

async fn answer(
    client: &mut SendRequest<Bytes>,
    request: Request<()>,
) -> (Response<h2::RecvStream>, h2::SendStream<Bytes>) {
    let (response, send) = client.send_request(request, false).unwrap();
    (within("an answer", response).await.unwrap(), send)
}

#[tokio::test]
async fn an_extended_connect_is_answered_as_rfc_8441_wants_it() {
    let server = Server::start(Kind::PLAIN).await;
    let mut client = h2_client(&server).await;
    let (response, _send) = answer(&mut client, connect(&server)).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()[header::SEC_WEBSOCKET_PROTOCOL], "qmux-02");
    for name in [header::SEC_WEBSOCKET_ACCEPT, header::UPGRADE, header::CONNECTION] {
        assert!(!response.headers().contains_key(name));
    }

    let broken = |change: fn(&mut Request<()>)| {
        let mut request = connect(&server);
        change(&mut request);
        request
    };
    for (request, status) in [
        (broken(|r| drop(r.headers_mut().remove(header::SEC_WEBSOCKET_VERSION))), 400),
        (broken(|r| drop(r.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, 8.into()))), 400),
        (
            broken(|r| {
                let other = "qmux-99".parse().unwrap();
                r.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, other);
            }),
            400,
        ),
        (broken(|r| drop(r.extensions_mut().insert(Protocol::from_static("connect-ip")))), 501),
        (
            broken(|r| {
                *r.method_mut() = Method::GET;
                r.extensions_mut().remove::<Protocol>();
            }),
            400,
        ),
    ] {
        let (response, _send) = answer(&mut client, request).await;
        assert_eq!(response.status().as_u16(), status);
        assert!(!response.headers().contains_key(header::CONNECTION));
    }
}

#[tokio::test]
async fn a_late_refusal_over_http2_is_reported_without_its_body() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/mux", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let mut builder = h2::server::Builder::new();
        builder.enable_connect_protocol();
        let mut connection = builder.handshake::<_, Bytes>(tcp).await.unwrap();
        let (_request, mut respond) = connection.accept().await.unwrap().unwrap();
        let head = Response::builder().status(StatusCode::UNAUTHORIZED).body(()).unwrap();
        let mut body = respond.send_response(head, false).unwrap();
        body.send_data(Bytes::from_static(b"log in"), false).unwrap();
        // The body of the response never ends.
        connection.accept().await;
    });
    let mut config = Config::default();
    // The client waits one second for a body, but never longer than the handshake timeout, which is
    // shorter here.
    config.handshake_timeout(Duration::from_millis(900));
    let client = WebSocketClient::builder().config(config).build().unwrap();
    let client = Http2Client::with_prior_knowledge(client);
    let failed = within("a refusal", client.connect(&url)).await.unwrap_err();
    let ConnectError::Refused { status, body, .. } = failed else { panic!("{failed:?}") };
    assert_eq!((status.as_u16(), &*body), (401, "log in"));
    drop(client);
    within("the end of the connection", server).await.unwrap();
}

/// An empty list of transport parameters, in a masked frame.
const PARAMETERS: &[u8] = b"\x82\x89\0\0\0\0\xff\x51\x53\x30\x0d\x0a\x0d\x0a\x00";

/// RFC 8441 §5.1 does not change the WebSocket frames, so a client masks its frames over HTTP/2,
/// too.
#[tokio::test]
async fn a_frame_without_a_mask_is_an_error_over_http2_too() {
    let server = Server::start(Kind::PLAIN).await;
    let mut client = h2_client(&server).await;
    let (response, mut send) = answer(&mut client, connect(&server)).await;
    send.send_data(Bytes::from_static(b"\x82\x01\x00"), false).unwrap();
    let mut body = response.into_body();
    let mut said = Vec::new();
    while let Some(bytes) = within("a Close", body.data()).await {
        match bytes {
            Ok(bytes) => said.extend_from_slice(&bytes),
            Err(error) => {
                assert_eq!(error.reason(), Some(Reason::CANCEL), "{error}");
                break;
            }
        }
    }
    // The server's Close has code 1002, in a frame without a mask.
    let close = said.windows(4).position(|window| {
        window[0] == 0x88 && window[1] < 0x80 && window[2..] == 1002u16.to_be_bytes()
    });
    assert!(close.is_some(), "{said:?}");
}

/// A client vanishes, and its HTTP/2 stream is reset. A browser also resets the stream when a page
/// is closed.
#[tokio::test]
async fn a_reset_of_the_http2_stream_ends_its_connection_and_no_other() {
    let server = Server::start(Kind::PLAIN).await;
    let client = wsmux::Http2Client::with_prior_knowledge(server.client().build().unwrap());
    let ours = client.connect(&server.url("/mux")).await.unwrap();
    server.accepted().await;
    let mut foreign = h2_client(&server).await;
    let (_, mut send) = answer(&mut foreign, connect(&server)).await;
    send.send_data(Bytes::from_static(PARAMETERS), false).unwrap();
    let accepted = server.accepted().await;
    send.send_reset(Reason::CANCEL);
    within("the end", accepted.closed()).await;
    exchange(&ours, 1000).await;
}

/// RFC 9113 §8.2.3: a client may split a cookie into several headers.
#[tokio::test]
async fn the_pieces_of_a_cookie_are_one_again() {
    let server = Server::start(Kind::PLAIN).await;
    let mut client = h2_client(&server).await;
    let mut request = connect(&server);
    for piece in ["a=1", "b=2; c=3"] {
        request.headers_mut().append(header::COOKIE, piece.parse().unwrap());
    }
    let (response, mut send) = answer(&mut client, request).await;
    assert_eq!(response.status(), StatusCode::OK);
    send.send_data(Bytes::from_static(PARAMETERS), false).unwrap();
    let accepted = server.accepted().await;
    let request = accepted.info().request().unwrap();
    let cookies: Vec<_> = request.headers().get_all(header::COOKIE).iter().collect();
    assert_eq!(cookies, ["a=1; b=2; c=3"]);
}
