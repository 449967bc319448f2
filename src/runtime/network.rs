//! The browser's events that say that the network may be back.

use std::cell::Cell;

use tokio::sync::oneshot;
use wasm_bindgen::{JsCast, closure::Closure};
use web_sys::EventTarget;

/// Waits for an event by which the browser says that the network may be back: the page is online
/// again, or was restored or shown after it had been frozen or hidden. A worker receives only
/// `online`.
pub(crate) async fn network_returns() {
    let (happened, waits) = oneshot::channel();
    let happened = Cell::new(Some(happened));
    let listener = Closure::<dyn FnMut()>::new(move || {
        // If the receiver is gone, nobody waits for the event.
        let _ = happened.take().map(|happened| happened.send(()));
    });
    let _listening = Listening::new(js_sys::global().unchecked_into(), listener);
    let _ = waits.await;
}

/// Listeners for the events of [`network_returns`]. Dropping this removes them.
struct Listening {
    scope: EventTarget,
    listener: Closure<dyn FnMut()>,
}

impl Listening {
    /// `pageshow` says that the page was restored from the back/forward cache. `visibilitychange`
    /// says that the page is shown or hidden, and bubbles to the window. `resume` says that the
    /// page is thawed. The document receives `resume`, and this event does not bubble, so the
    /// listeners on the window capture events.
    const EVENTS: [&str; 4] = ["online", "pageshow", "visibilitychange", "resume"];

    fn new(scope: EventTarget, listener: Closure<dyn FnMut()>) -> Self {
        for event in Self::EVENTS {
            let function = listener.as_ref().unchecked_ref();
            let _ = scope.add_event_listener_with_callback_and_bool(event, function, true);
        }
        Self { scope, listener }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        for event in Self::EVENTS {
            let function = self.listener.as_ref().unchecked_ref();
            let _ = self.scope.remove_event_listener_with_callback_and_bool(event, function, true);
        }
    }
}
