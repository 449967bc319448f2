//! The subcommands of the program `wsmux`.
//!
//! This library exists for the program and for the example `perf` of the package `wsmux`, which run
//! the same code. Its API is not stable, so applications use the crate `wsmux`.

#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![warn(unreachable_pub)]

mod echo;
mod endpoint;
mod forward;
pub mod perf;
mod ping;
mod wire;

use std::error::Error;

use clap::{CommandFactory, Parser, Subcommand, error::ErrorKind};

/// The error with which a subcommand ends. Its text is one line for the user.
type Failure = Box<dyn Error + Send + Sync>;

/// QUIC's streams over one WebSocket, on the command line
#[derive(Debug, Parser)]
#[command(name = "wsmux", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Perf(perf::Args),
    /// Sends bytes there and back, and checks every byte
    #[command(subcommand)]
    Echo(echo::Command),
    Ping(ping::Args),
    Forward(forward::Args),
}

impl Cli {
    /// Parses the program's arguments. If they are wrong, the process exits with clap's error and
    /// code 2.
    pub fn from_args() -> Self {
        let cli = Self::parse();
        if let Command::Forward(args) = &cli.command
            && let Err(error) = args.role()
        {
            let mut command = Self::command();
            command.build();
            let forward = command.find_subcommand_mut("forward").expect("it is one of ours");
            forward.error(ErrorKind::ArgumentConflict, error).exit();
        }
        cli
    }

    /// Runs the subcommand.
    ///
    /// # Errors
    /// The reason why the subcommand failed, in words for the user and without any secret.
    pub async fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Perf(args) => perf::run(args).await,
            Command::Echo(command) => echo::run(command).await,
            Command::Ping(args) => ping::run(args).await,
            Command::Forward(args) => forward::run(args).await,
        }
    }
}
