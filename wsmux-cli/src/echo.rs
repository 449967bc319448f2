//! `wsmux echo`: a server that echoes everything, and a client that checks the echo.

mod client;
mod server;

use clap::Subcommand;

use crate::Failure;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Server(server::Args),
    Client(client::Args),
}

pub(crate) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Server(args) => server::run(args).await,
        Command::Client(args) => client::run(args).await,
    }
}
