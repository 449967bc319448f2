//! Both ends in one process: a server, and a client with two channels on one WebSocket.

use tokio::task::JoinSet;
use tonic::transport::Server;
use wsmux::{WebSocketClient, WebSocketServer};
use wsmux_tonic::{
    tally::{Adder, Number, Pair, TallyClient, TallyServer},
    transport::{channel, incoming},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = WebSocketServer::builder().protocol("grpc").bind("127.0.0.1:0").await?;
    let url = format!("ws://{}/", server.local_addr()?);
    tokio::spawn(async move {
        let mut connections = JoinSet::new();
        while let Some(connecting) = server.accept().await {
            connections.spawn(async move {
                let Ok(connection) = connecting.await else { return };
                let service = TallyServer::new(Adder::default());
                let served = Server::builder().add_service(service);
                if let Err(error) = served.serve_with_incoming(incoming(connection)).await {
                    eprintln!("{error}");
                }
            });
        }
    });

    let connection = WebSocketClient::builder().protocol("grpc").build()?.connect(&url).await?;
    // Bulk data and queries do not wait for each other, because each channel has its own stream.
    let mut bulk = TallyClient::new(channel(connection.clone()));
    let mut questions = TallyClient::new(channel(connection.clone()));
    let mut numbers = bulk.count(Number { value: 0 }).await?.into_inner();
    println!("the first of many: {:?}", numbers.message().await?);
    // From here on nobody reads the bulk stream.
    let sum = questions.add(Pair { left: 40, right: 2 }).await?.into_inner();
    println!("40 + 2 = {}", sum.value);

    drop((numbers, bulk, questions));
    connection.drain();
    println!("{}", connection.closed().await);
    Ok(())
}
