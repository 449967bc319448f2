//! Starts the servers for the pages under test. The program prints the URL of its control service,
//! and serves until its standard input ends.
//!
//! A page sends requests to the control service, one on each stream, to get the URLs of servers:
//! see `control`.

mod control;
mod relay;
mod service;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, stdin};

use crate::service::{Service, Wire};

/// The first argument for a child process that [`control`] starts. The second argument is the wire
/// that the process serves.
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
    // The input ends when the process that started this process exits.
    let mut end = Vec::new();
    stdin().read_to_end(&mut end).await?;
    Ok(())
}
