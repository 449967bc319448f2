//! Tasks, clocks and random numbers: tokio's and the system's, or the browser's in a web page.

#[cfg(target_family = "wasm")]
mod browser;
#[cfg(not(target_family = "wasm"))]
mod native;
#[cfg(target_family = "wasm")]
mod network;
pub(crate) mod sync;

#[cfg(not(target_family = "wasm"))]
pub(crate) use self::native::*;
#[cfg(target_family = "wasm")]
pub(crate) use self::{browser::*, network::network_returns};

/// The same as [`Send`], except in a web page, where every type implements this trait. A page runs
/// in one thread, and the browser's objects cannot leave that thread.
#[cfg(not(target_family = "wasm"))]
pub trait MaybeSend: Send {}

#[cfg(not(target_family = "wasm"))]
impl<T: Send + ?Sized> MaybeSend for T {}

/// The same as [`Send`], except in a web page, where every type implements this trait. A page runs
/// in one thread, and the browser's objects cannot leave that thread.
#[cfg(target_family = "wasm")]
pub trait MaybeSend {}

#[cfg(target_family = "wasm")]
impl<T: ?Sized> MaybeSend for T {}

/// The same as [`Sync`], except in a web page, where every type implements this trait; see
/// [`MaybeSend`].
#[cfg(not(target_family = "wasm"))]
pub trait MaybeSync: Sync {}

#[cfg(not(target_family = "wasm"))]
impl<T: Sync + ?Sized> MaybeSync for T {}

/// The same as [`Sync`], except in a web page, where every type implements this trait; see
/// [`MaybeSend`].
#[cfg(target_family = "wasm")]
pub trait MaybeSync {}

#[cfg(target_family = "wasm")]
impl<T: ?Sized> MaybeSync for T {}
