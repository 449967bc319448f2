//! What pages under test connect to. It says the URL of its control service, and serves until its input ends.
//!
//! A page asks the control service, a request to a stream, for the URLs of what it wants: see `control`.

mod control;
mod relay;
mod service;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, stdin};

use crate::service::{Service, Wire};

/// What the child process of [`control`] is called with, and the wire that it serves.
const MORTAL: &str = "mortal";

#[tokio::main]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        Some(MORTAL) => {
            let wire = Wire::parse(&args.next().context("a wire")?)?;
            println!("{}", Service::start(wire).await?.url());
        }
        Some(other) => anyhow::bail!("{other:?} is no command"),
        None => println!("{}", control::start().await?),
    }
    // Whoever started this has gone.
    let mut end = Vec::new();
    stdin().read_to_end(&mut end).await?;
    Ok(())
}
