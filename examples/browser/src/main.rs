//! Run `examples/browser/run`, and then open the address that it prints.

use std::{
    error::Error,
    net::SocketAddr,
    num::NonZero,
    path::{Path, PathBuf},
};

use clap::Parser;
use tokio::net::TcpListener;

#[derive(Debug, Parser)]
struct Args {
    /// Address and port to listen on
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Bytes a second of each stream
    #[arg(long, default_value = "1048576")]
    rate: NonZero<usize>,
    /// Directory of the npm package, as js/pack makes it
    #[arg(long, default_value_os_t = package())]
    package: PathBuf,
}

fn package() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../js/dist")
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let args = Args::parse();
    let listener = TcpListener::bind(args.listen).await?;
    println!("open http://{}/", listener.local_addr()?);
    wsmux_browser_page::serve(listener, &args.package, args.rate).await
}
