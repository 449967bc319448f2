//! TLS in an application that has no runtime.

use std::thread;

use wsmux::blocking::{WebSocketClient, WebSocketServer};

use super::{echo, in_time, round_trip};

#[test]
fn tls_is_done_by_the_threads_that_wait_for_it() {
    in_time(|| {
        let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let certificate = certified.cert.der().clone();
        let key = wsmux::rustls::pki_types::PrivatePkcs8KeyDer::from(
            certified.signing_key.serialize_der(),
        );
        let builder =
            wsmux::WebSocketServer::builder().certificate([certificate.clone()], key.into());
        let server = WebSocketServer::bind("127.0.0.1:0", builder.build().unwrap()).unwrap();
        let url = format!("wss://localhost:{}/", server.local_addr().unwrap().port());
        let serving = thread::spawn(move || echo(&server.accept().unwrap().wait().unwrap()));
        let builder = wsmux::WebSocketClient::builder().trust_self_signed(certificate.clone());
        let client = WebSocketClient::new(builder.build().unwrap()).unwrap();
        let connection = client.connect(&url).unwrap();
        assert_eq!(connection.peer_certificates().unwrap()[0], certificate.as_ref());
        round_trip(&connection, 8, 1_000_000);
        connection.drain();
        connection.closed();
        serving.join().unwrap();
    });
}
