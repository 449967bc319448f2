//! A client that moves to another network, while its connection goes on. The old network vanishes
//! without a sign. Packets that are sent there get no answer, not even an RST.

use std::time::{Duration, Instant};

use wsmux::{Config, ConnectionEvent};

use super::{connect, interop::*, network::Network};

/// How many bytes each transfer carries in each direction. `WSMUX_ROAMING_MIB` sets another number,
/// in MiB, for example 1024.
fn transfer_size() -> u64 {
    let mib = std::env::var("WSMUX_ROAMING_MIB").ok();
    mib.map_or(64, |mib| mib.parse().expect("a number of MiB")) * MIB
}

/// The ends notice silence after two thirds of this time.
const IDLE: Duration = Duration::from_secs(6);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_goes_on_when_the_clients_address_changes() {
    let net = Network::veth();
    let config = config(|config: &mut Config| {
        config
            .resume_timeout(Some(Duration::from_secs(60)))
            .max_idle_timeout(Some(IDLE))
            .keep_alive_interval(Some(Duration::from_secs(1)));
    });
    let ends = connect(&net, &config).await;
    let bytes = transfer_size();
    let _echo = Echo::start(&ends.server);
    let mut events = ends.client.events();
    let start = Instant::now();
    let client = ends.client.clone();
    let transfer = net.client.run(async move { get_echo(&client, 7, bytes).await });
    let moving = async {
        for number in 0..2 {
            // Waits until the transfer is under way.
            let before = ends.server.stats().bytes_received;
            let under_way = async {
                while ends.server.stats().bytes_received < before + bytes / 8 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            within("bytes", under_way).await;
            net.move_client(number);
            assert_eq!(within("a loss", events.next()).await, Some(ConnectionEvent::Suspended));
            match within("a resumption", events.next()).await {
                Some(ConnectionEvent::Resumed { gap, resent_bytes, .. }) => {
                    println!("suspended for {gap:.1?}, {resent_bytes} bytes sent again");
                }
                other => panic!("{other:?}"),
            }
        }
    };
    tokio::join!(transfer, moving);
    println!("{} MiB and back in {:.1?}", bytes / MIB, start.elapsed());
    assert_eq!(ends.client.session_stats().resumptions, 2);
    assert_eq!(ends.server.session_stats().resumptions, 2);
}
