//! `wsmux`: the library on the command line.

use std::process::ExitCode;

use wsmux_cli::Cli;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::from_args();
    // On a worker like any application's task: the main thread would be woken from outside each time.
    let error = match tokio::spawn(cli.run()).await {
        Ok(Ok(())) => return ExitCode::SUCCESS,
        Ok(Err(error)) => error,
        Err(error) => error.into(),
    };
    eprintln!("error: {error}");
    ExitCode::FAILURE
}
