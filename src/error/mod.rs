//! The errors of the async library. [`crate::proto`] has the errors of the engine.

#[cfg(not(target_family = "wasm"))]
mod accept;
mod build;
pub(crate) mod connect;
mod stream;

#[cfg(not(target_family = "wasm"))]
pub use self::accept::{AcceptError, BindError};
pub(crate) use self::stream::NO_CODE;
pub use self::{
    build::BuildError,
    connect::{ConnectError, ServerRejection, VerifyServerError},
    stream::{ReadExactError, ReadToEndError, ResetError, StoppedError},
};
