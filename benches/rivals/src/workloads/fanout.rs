//! Events that the server sends to many subscribers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use tokio::{sync::mpsc, task::JoinSet};

use super::{Bench, crowd::Member, open};
use crate::{
    backends::{Rival, Stream},
    meter::percentiles,
    outcome::Metrics,
    peer::{CHUNK, EVENT, PUBLISH, read_exact},
};

/// Publishes one event after another. An event is published when all subscribers have received the
/// previous one. Here a call is one delivery. The percentiles describe the time from the
/// publication of an event to its last delivery.
pub async fn run<R: Rival>(
    bench: &Bench<R>,
    subscribers: Vec<Member<R::Connection>>,
    events: u64,
) -> Result<Metrics> {
    let count = subscribers.len();
    // How many subscribers have yet to receive the current event.
    let waiting = Arc::new(AtomicUsize::new(0));
    // The last subscriber that receives an event reports here. Each subscriber that fails reports
    // here as well.
    let (report, mut reports) = mpsc::channel(1);
    let mut tasks = JoinSet::new();
    for mut subscriber in subscribers {
        let (waiting, report) = (waiting.clone(), report.clone());
        tasks.spawn(async move {
            for _ in 0..events {
                let received = receive(&mut subscriber.stream).await;
                let last = waiting.fetch_sub(1, Ordering::Relaxed) == 1;
                if last || received.is_err() {
                    report.send(received).await?;
                }
            }
            // The subscriber is kept until all tasks are done, so that closing is not measured.
            anyhow::Ok(subscriber)
        });
    }
    let mut publisher = open(&bench.connection, PUBLISH).await?;
    let mut times = Vec::with_capacity(events as usize);
    let watch = bench.meter.start().await?;
    for _ in 0..events {
        waiting.store(count, Ordering::Relaxed);
        let start = Instant::now();
        publisher.write(&CHUNK[..EVENT]).await?;
        publisher.flush().await?;
        reports.recv().await.context("no subscriber is left")??;
        times.push(start.elapsed());
    }
    let cost = watch.stop().await?;
    let mut kept = Vec::with_capacity(count);
    while let Some(subscriber) = tasks.join_next().await {
        kept.push(subscriber??);
    }
    let mut metrics = cost.of_calls(events * count as u64);
    metrics.extend(percentiles(times));
    Ok(metrics)
}

async fn receive<S: Stream>(stream: &mut S) -> Result<()> {
    let mut event = [0; EVENT];
    read_exact(stream, &mut event).await?;
    ensure!(event == CHUNK[..EVENT], "a wrong event");
    Ok(())
}
