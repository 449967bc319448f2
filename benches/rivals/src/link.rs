//! A simulated link between two network namespaces, with the rate, the delay and the loss of a
//! path. Unlike netem, this link needs no module of the kernel.

use std::{
    net::Ipv4Addr,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, unshare};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tun_rs::{DeviceBuilder, SyncDevice};

use crate::path::Shape;

const MTU: u16 = 1500;
/// The length of the kernel's queue. The queue contains the packets that a thread of the link has
/// not taken yet. It is so long that the kernel drops no packet, even if the thread is late.
const WAITING: u32 = 10_000;

/// The device through which a namespace sends all of its packets.
pub type Device = Arc<SyncDevice>;

/// Moves the calling thread into a namespace of its own, with this address.
pub fn enter(address: Ipv4Addr) -> Result<Device> {
    unshare(CloneFlags::CLONE_NEWNET).context("a network namespace: this needs root")?;
    let device = DeviceBuilder::new()
        .name("path")
        .mtu(MTU)
        .tx_queue_len(WAITING)
        .ipv4(address, 24, None)
        .build_sync();
    Ok(Arc::new(device.context("/dev/net/tun")?))
}

/// Carries packets both ways, until the process ends.
pub fn connect(ends: [Device; 2], shape: Shape) {
    for (seed, way) in [[0, 1], [1, 0]].into_iter().enumerate() {
        let [from, to] = way.map(|end| ends[end].clone());
        let (sender, delayed) = mpsc::channel();
        thread::spawn(move || take(&from, shape, StdRng::seed_from_u64(seed as u64), &sender));
        thread::spawn(move || deliver(&to, &delayed));
    }
}

/// A packet, and the time at which it has to arrive.
type Packet = (Instant, Vec<u8>);

fn take(from: &Device, shape: Shape, mut random: StdRng, delayed: &mpsc::Sender<Packet>) {
    let mut packet = [0; MTU as usize];
    // The time at which the link will have sent everything that it has accepted.
    let mut free = Instant::now();
    while let Ok(len) = from.recv(&mut packet) {
        let now = Instant::now();
        let is_full = free.saturating_duration_since(now) > shape.queue;
        if is_full || random.random_ratio(shape.lost_per_mille, 1_000) {
            continue;
        }
        free = free.max(now) + Duration::from_secs(len as u64 * 8) / shape.bits_per_s;
        if delayed.send((free + shape.rtt / 2, packet[..len].to_vec())).is_err() {
            return;
        }
    }
}

fn deliver(to: &Device, delayed: &mpsc::Receiver<Packet>) {
    for (due, packet) in delayed {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        // If the namespace of a device is about to end, the device accepts no packets. This is not
        // an error.
        let _ = to.send(&packet);
    }
}
