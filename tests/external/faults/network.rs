//! Two network namespaces and the link between them. The link is either the kernel's own link, or a
//! slow and lossy link that this module implements.

use std::{
    fs::File,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use nix::sched::{CloneFlags, setns};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{
    runtime::{Builder, Runtime},
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tun_rs::{AsyncDevice, DeviceBuilder};

/// How many packets may wait on our link. A router for 1 Gbit/s has a queue of about this length.
const QUEUE: usize = 4_096;

/// One end. All sockets that its runtime opens are in its network namespace.
#[derive(Debug)]
pub(crate) struct Host {
    name: String,
    pub(crate) address: &'static str,
    runtime: Option<Runtime>,
}

#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) client: Host,
    pub(crate) server: Host,
}

/// Runs a command, discards its output, and returns whether it succeeded.
pub(crate) fn succeeds(command: &str) -> bool {
    let mut words = command.split_whitespace();
    let program = words.next().expect("a command");
    let mut command = Command::new(program);
    command.args(words).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn must(command: &str) {
    assert!(succeeds(command), "{command}: this needs root, iproute2 and iptables");
}

impl Host {
    fn new(role: &str, address: &'static str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("wsmux-{}-{number}-{role}", std::process::id());
        must(&format!("ip netns add {name}"));
        must(&format!("ip -n {name} link set lo up"));
        let path = format!("/run/netns/{name}");
        let enter = move || {
            let namespace = File::open(&path).expect("the namespace");
            setns(namespace, CloneFlags::CLONE_NEWNET).expect("to be root");
        };
        let mut runtime = Builder::new_multi_thread();
        runtime.worker_threads(1).enable_all().on_thread_start(enter);
        let runtime = Some(runtime.build().expect("a runtime"));
        Self { name, address, runtime }
    }

    /// Runs a future on the runtime in the host's namespace.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        job: impl Future<Output = T> + Send + 'static,
    ) -> T {
        let runtime = self.runtime.as_ref().expect("it is taken in drop alone");
        runtime.spawn(job).await.expect("it does not panic")
    }

    /// Runs a command in the host's namespace, and returns whether it succeeded.
    pub(crate) fn can(&self, command: &str) -> bool {
        succeeds(&format!("ip netns exec {} {command}", self.name))
    }

    pub(crate) fn must(&self, command: &str) {
        must(&format!("ip netns exec {} {command}", self.name));
    }

    /// Drops the host's runtime with its tasks and sockets, as if a process were killed.
    pub(crate) fn die(&mut self) {
        self.runtime.take().expect("it dies once").shutdown_background();
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        succeeds(&format!("ip netns del {}", self.name));
    }
}

impl Network {
    fn hosts() -> Self {
        Self { client: Host::new("c", "10.99.0.1"), server: Host::new("s", "10.99.0.2") }
    }

    pub(crate) fn hosts_of(&self) -> [&Host; 2] {
        [&self.client, &self.server]
    }

    /// Connects both ends by the kernel's link, which has no delay, no loss and no limit.
    pub(crate) fn veth() -> Self {
        let net = Self::hosts();
        let [a, b] = [&net.client, &net.server].map(|host| &host.name);
        must(&format!("ip -n {a} link add wan type veth peer name wan netns {b}"));
        for host in net.hosts_of() {
            must(&format!("ip -n {} addr add {}/24 dev wan", host.name, host.address));
            must(&format!("ip -n {} link set wan up", host.name));
        }
        net
    }

    /// Takes the client's link away, with its address, and gives the client another link with
    /// another address. The server keeps its address. The first call has the `number` 0, and each
    /// further call has the next number.
    pub(crate) fn move_client(&self, number: u8) {
        let (a, b) = (&self.client.name, &self.server.name);
        let (old, new) = match number {
            0 => ("wan".to_owned(), "lte0".to_owned()),
            n => (format!("lte{}", n - 1), format!("lte{n}")),
        };
        must(&format!("ip -n {a} link set {old} down"));
        must(&format!("ip -n {a} addr flush dev {old}"));
        must(&format!("ip -n {a} link add {new} type veth peer name {new} netns {b}"));
        must(&format!("ip -n {a} addr add 10.98.{number}.1/24 dev {new}"));
        must(&format!("ip -n {b} addr add 10.98.{number}.2/24 dev {new}"));
        for host in self.hosts_of() {
            must(&format!("ip -n {} link set {new} up", host.name));
        }
        let server = self.server.address;
        must(&format!("ip -n {a} route add {server}/32 via 10.98.{number}.2"));
    }

    /// Connects both ends by a link of ours. Each packet arrives after half of `rtt`. Of a thousand
    /// packets, `per_mille` are lost. Also returns a counter of the lost packets.
    pub(crate) async fn slow_and_lossy(rtt: Duration, per_mille: u32) -> (Self, Arc<AtomicU64>) {
        let net = Self::hosts();
        let mut devices = Vec::new();
        for host in net.hosts_of() {
            let device = host.run(async {
                let device = DeviceBuilder::new().name("wan").mtu(1500).build_async();
                Arc::new(device.expect("/dev/net/tun"))
            });
            devices.push(device.await);
            must(&format!("ip -n {} addr add {}/24 dev wan", host.name, host.address));
            must(&format!("ip -n {} link set wan up", host.name));
        }
        let lost = Arc::new(AtomicU64::new(0));
        for (nth, host) in net.hosts_of().into_iter().enumerate() {
            let (from, to) = (devices[nth].clone(), devices[1 - nth].clone());
            let (lost, rng) = (lost.clone(), StdRng::seed_from_u64(nth as u64));
            host.run(async move {
                tokio::spawn(carry(from, to, rtt / 2, per_mille, rng, lost));
            })
            .await;
        }
        (net, lost)
    }
}

async fn carry(
    from: Arc<AsyncDevice>,
    to: Arc<AsyncDevice>,
    delay: Duration,
    per_mille: u32,
    mut rng: StdRng,
    lost: Arc<AtomicU64>,
) {
    let (sender, mut waiting) = mpsc::channel::<(Instant, Vec<u8>)>(QUEUE);
    tokio::spawn(async move {
        while let Some((due, packet)) = waiting.recv().await {
            sleep_until(due).await;
            // If the other end is down, the packet is lost.
            let _ = to.send(&packet).await;
        }
    });
    let mut packet = vec![0; 2_048];
    while let Ok(len) = from.recv(&mut packet).await {
        if rng.random_ratio(per_mille, 1_000) {
            lost.fetch_add(1, Ordering::Relaxed);
        } else {
            // A packet that does not fit into the queue is lost, too.
            let _ = sender.try_send((Instant::now() + delay, packet[..len].to_vec()));
        }
    }
}
