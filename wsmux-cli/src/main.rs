//! `wsmux`: the library on the command line.

use std::process::ExitCode;

use wsmux_cli::Cli;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::from_args();
    // The subcommand runs on a worker thread, like an application's task. On the main thread the
    // subcommand would be slower, because another thread would have to wake the main thread each
    // time.
    let error = match tokio::spawn(cli.run()).await {
        Ok(Ok(())) => return ExitCode::SUCCESS,
        Ok(Err(error)) => error,
        Err(error) => error.into(),
    };
    eprintln!("error: {error}");
    ExitCode::FAILURE
}
