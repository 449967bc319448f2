//! Tests of the Rust API in a page. They use both of the browser's interfaces, and connect to wsmux
//! on both wires and to crate `qmux`.
//!
//! `.ci/browser` starts the servers, and passes their address in `WSMUX_BROWSER_SERVER` at build
//! time.
#![cfg(target_family = "wasm")]

mod bytes;
mod closing;
mod connecting;
mod live;
mod memory;
mod place;
mod streams;

use wasm_bindgen_test::wasm_bindgen_test_configure;

wasm_bindgen_test_configure!(run_in_browser);

/// Creates a module of tests for each combination of server, wire and interface in which the tests
/// can pass.
macro_rules! tests_at {
    (by_web_socket: $($name:ident;)+) => {
        mod by_web_socket {
            crate::tests_at!(@apis everywhere, web_socket, WebSocket, $($name;)+);
        }
    };
    (of_ours_by_web_socket: $($name:ident;)+) => {
        mod of_ours_by_web_socket {
            crate::tests_at!(@apis ours, web_socket, WebSocket, $($name;)+);
        }
    };
    ($wires:ident: $($name:ident;)+) => {
        mod $wires {
            crate::tests_at!(@apis $wires, web_socket, WebSocket, $($name;)+);
            crate::tests_at!(@apis $wires, web_socket_stream, WebSocketStream, $($name;)+);
        }
    };
    (@apis $wires:ident, $module:ident, $api:ident, $($tests:tt)+) => {
        mod $module {
            crate::tests_at!(@wires $wires, $api, $($tests)+);
        }
    };
    (@wires everywhere, $api:ident, $($tests:tt)+) => {
        crate::tests_at!(@wire qmux, QMux, $api, $($tests)+);
        crate::tests_at!(@wire foreign, Foreign, $api, $($tests)+);
        crate::tests_at!(@wire js_ws, JsWs, $api, $($tests)+);
    };
    (@wires ours, $api:ident, $($tests:tt)+) => {
        crate::tests_at!(@wire qmux, QMux, $api, $($tests)+);
        crate::tests_at!(@wire js_ws, JsWs, $api, $($tests)+);
    };
    (@wires on_qmux, $api:ident, $($tests:tt)+) => {
        crate::tests_at!(@wire qmux, QMux, $api, $($tests)+);
        crate::tests_at!(@wire foreign, Foreign, $api, $($tests)+);
    };
    (@wires on_js_ws, $api:ident, $($tests:tt)+) => {
        crate::tests_at!(@wire js_ws, JsWs, $api, $($tests)+);
    };
    (@wire $module:ident, $server:ident, $api:ident, $($name:ident;)+) => {
        mod $module {
            $(#[wasm_bindgen_test::wasm_bindgen_test]
            async fn $name() {
                let server = crate::place::Server::$server;
                let api = wsmux::BrowserApi::$api;
                super::super::super::$name(crate::place::Place { server, api }).await;
            })+
        }
    };
}
pub(crate) use tests_at;
