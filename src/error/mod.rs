//! The errors of the async library. Those of the engine are [`crate::proto`]'s.

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
    connect::{ConnectError, Rejection, VerifyServerError},
    stream::{ReadExactError, ReadToEndError, ResetError, StoppedError},
};
