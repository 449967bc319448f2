//! Tasks, clocks and chance: tokio's and the system's, and in a web page the browser's.

#[cfg(target_family = "wasm")]
mod browser;
#[cfg(not(target_family = "wasm"))]
mod native;
pub(crate) mod sync;

#[cfg(target_family = "wasm")]
pub(crate) use self::browser::*;
#[cfg(not(target_family = "wasm"))]
pub(crate) use self::native::*;

/// [`Send`], but in a web page anything: all that runs there runs in one thread, and what the browser gives cannot
/// leave it.
#[cfg(not(target_family = "wasm"))]
pub trait MaybeSend: Send {}

#[cfg(not(target_family = "wasm"))]
impl<T: Send + ?Sized> MaybeSend for T {}

/// [`Send`], but in a web page anything: all that runs there runs in one thread, and what the browser gives cannot
/// leave it.
#[cfg(target_family = "wasm")]
pub trait MaybeSend {}

#[cfg(target_family = "wasm")]
impl<T: ?Sized> MaybeSend for T {}

/// [`Sync`], under the same condition as [`MaybeSend`].
#[cfg(not(target_family = "wasm"))]
pub trait MaybeSync: Sync {}

#[cfg(not(target_family = "wasm"))]
impl<T: Sync + ?Sized> MaybeSync for T {}

/// [`Sync`], under the same condition as [`MaybeSend`].
#[cfg(target_family = "wasm")]
pub trait MaybeSync {}

#[cfg(target_family = "wasm")]
impl<T: ?Sized> MaybeSync for T {}
