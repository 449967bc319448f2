//! The errors that a page gets if it cannot reach the server, or if the server speaks another
//! protocol.

use wsmux_testing::urls;

use std::time::Duration;

use js_sys::{Array, Function, Reflect};
use wasm_bindgen::JsCast;
use wsmux::{BuildError, Config, ConnectError, WebSocketClient, Wire};

use crate::place::{Place, ask, within};

crate::tests_at! { everywhere:
    a_url_that_leads_nowhere_is_refused;
    a_server_that_is_not_there_is_an_error_of_the_network;
    a_server_that_never_answers_is_given_up_in_time;
}

crate::tests_at! { on_qmux:
    the_application_protocol_is_agreed_on;
    a_server_that_selects_nothing_is_not_connected_to;
}

async fn a_url_that_leads_nowhere_is_refused(place: Place) {
    for url in ["", "ws:", "ws://", "nowhere", "ws://["] {
        let error = place.refused(url).await;
        assert!(matches!(error, ConnectError::InvalidUrl(_)), "{url:?}: {error}");
        assert!(!error.is_retryable());
    }
    let error = place.refused("ftp://127.0.0.1/").await;
    assert!(matches!(&error, ConnectError::UnsupportedScheme(name) if name == "ftp"), "{error}");
}

async fn a_server_that_is_not_there_is_an_error_of_the_network(place: Place) {
    // Browsers permit this port, and nothing listens on it.
    let error = place.refused("ws://127.0.0.1:2/").await;
    assert!(matches!(error, ConnectError::Connect(_)), "{error}");
    assert!(error.is_retryable());
}

async fn a_server_that_never_answers_is_given_up_in_time(place: Place) {
    let url = ask("mute").await;
    let mut config = Config::default();
    config.handshake_timeout(Duration::from_millis(300));
    let client = place.client().connect_timeout(Duration::from_millis(200)).config(config);
    let client = client.build().expect("a client");
    let error = within("giving up", client.connect(&url)).await.expect_err("no connection");
    assert!(matches!(error, ConnectError::HandshakeTimeout), "{error}");
}

async fn the_application_protocol_is_agreed_on(place: Place) {
    let connection = place.connect().await;
    assert_eq!(connection.subprotocol(), Some("qmux-02"));
    assert_eq!(connection.wire(), Wire::QMux);
}

/// If the server selects no subprotocol, the browser itself fails the handshake, and gives no
/// reason.
async fn a_server_that_selects_nothing_is_not_connected_to(place: Place) {
    let url = ask(&format!("url {}", place.name())).await;
    let client = place.client().protocol("unknown").require_protocol(true).build();
    let client = client.expect("a client");
    let error = within("connecting", client.connect(&url)).await.expect_err("no connection");
    assert!(matches!(error, ConnectError::Connect(_)), "{error}");
}

/// Returns the URL in the form in which the browser writes it.
fn href(url: &str) -> Option<String> {
    let constructor = Reflect::get(&js_sys::global(), &"URL".into()).expect("every browser has it");
    let constructor: Function = constructor.unchecked_into();
    let url = Reflect::construct(&constructor, &Array::of1(&url.into())).ok()?;
    Reflect::get(&url, &"href".into()).expect("every URL has one").as_string()
}

/// The tests on other targets use the same list of URLs.
#[wasm_bindgen_test::wasm_bindgen_test]
async fn a_url_leads_to_the_same_place_as_natively() {
    let client = WebSocketClient::builder().build().expect("a client");
    for (url, expected) in urls::URLS {
        match expected {
            Some(urls::Lead { scheme, authority, path_and_query }) => {
                // The browser removes an `@` without a user, so the expected URL has none.
                let leads = format!("{scheme}://{authority}{path_and_query}");
                assert_eq!(href(url), Some(leads), "{url:?}");
            }
            None => {
                let error =
                    within("an error", client.connect(url)).await.expect_err("no connection");
                assert!(matches!(error, ConnectError::InvalidUrl(_)), "{url:?}: {error}");
            }
        }
    }
}

#[wasm_bindgen_test::wasm_bindgen_test]
fn a_protocol_that_is_no_token_is_refused_when_it_is_configured() {
    let refused = WebSocketClient::builder().protocol("a b").build();
    assert!(matches!(refused, Err(BuildError::InvalidProtocol(_))), "{refused:?}");
}
