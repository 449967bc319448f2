//! An attempt to connect.

use futures_util::future::{AbortHandle, Abortable};
use js_sys::{Object, Promise};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::future_to_promise;

use crate::{connection::Connection, fault::Fault, settings};

/// One attempt to connect, which can be aborted.
#[wasm_bindgen]
pub struct Dial {
    given_up: AbortHandle,
    connection: Promise,
}

#[wasm_bindgen]
impl Dial {
    /// Starts the attempt.
    ///
    /// # Errors
    /// The reason why the settings are invalid.
    #[wasm_bindgen(constructor)]
    pub fn new(url: String, settings: &Object) -> Result<Self, JsError> {
        let client = settings::client(settings)?;
        let (given_up, handle) = AbortHandle::new_pair();
        let connecting = Abortable::new(async move { client.connect(&url).await }, handle);
        let connection = future_to_promise(async move {
            match connecting.await {
                Ok(Ok(connection)) => Ok(Connection::new(connection).into()),
                Ok(Err(error)) => Err(Fault::from(error).into()),
                Err(_) => Err(Fault::aborted().into()),
            }
        });
        Ok(Self { given_up, connection })
    }

    /// Returns a promise of the [`Connection`].
    #[wasm_bindgen(getter)]
    pub fn connection(&self) -> Promise {
        self.connection.clone()
    }

    /// Aborts the attempt, and closes its socket.
    pub fn abort(&self) {
        self.given_up.abort();
    }
}
