//! The attacks. In each attack a server serves an honest client all the time, and an attacker for
//! some of the time.

mod connects;
mod flood;
mod jsws;
mod raw;
mod report;
mod resume;
mod told;

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::{Result, ensure};
use clap::ValueEnum;
use serde::Serialize;
use tokio::time::{Instant, sleep};
use wsmux::Wire;

use crate::{
    honest::Done,
    process::{self, Part},
    victim::{Address, Heap},
};
use told::Told;

const MIB: u64 = 1 << 20;
/// How long the honest client's windows may grow before anything is measured.
const WARM_UP: Duration = Duration::from_secs(2);
/// How long the honest client is measured alone. Its results are steady, so more time would show
/// nothing new.
const ALONE: Duration = Duration::from_secs(5);
/// How long after the attack the memory is measured again, to show what the attack has left behind.
const AFTER: Duration = Duration::from_secs(2);

/// The text with which the victim refuses a request to resume.
const SESSION_REFUSED: &str = "the session is unknown";

/// The honest client connects at least once in this many seconds, even on a busy machine.
const CONNECTS_WITHIN: u64 = 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attack {
    /// No attack: a process that spins, to compare with attacks that only take processor time
    Spin,
    /// Streams opened and reset at once
    OpenReset,
    /// Streams opened, with data to be echoed, and stopped at once
    StopSending,
    /// One stream stopped over and over
    StopRepeated,
    /// WebSocket pings, whose pongs are not read
    WsPing,
    /// QX_PING requests, whose responses are not read
    QxPing,
    /// Credit for one byte at a time
    OneByteGrants,
    /// STREAM frames without data
    EmptyFrames,
    /// STREAM frames of one byte, each in a message of its own
    TinyMessages,
    /// Messages of padding
    Padding,
    /// Frames that report that the sender is blocked
    Blocked,
    /// Datagrams of one byte
    Datagrams,
    /// As many bytes as the victim grants on every stream that it permits, without reading answers
    NeverReads,
    /// One byte and then 4 KiB, repeatedly, on every stream that the victim permits, without
    /// reading answers
    BytesAndChunks,
    /// js-ws: streams opened and reset at once
    JswsOpenReset,
    /// js-ws: single bytes to be echoed, and credit for one byte each
    JswsTinyMessages,
    /// js-ws: credit for one byte at a time, which nobody uses
    JswsOneByteGrants,
    /// js-ws: streams above the limit, which wait and are refused
    JswsWaiting,
    /// js-ws: calls on streams whose ids have the same low bits
    JswsSparseIds,
    /// js-ws: streams opened from the highest id on downwards
    JswsDescendingIds,
    /// 500 TCP connections that send nothing
    HalfOpenSilent,
    /// 500 TCP connections that send half of a request
    HalfOpenRequest,
    /// 500 TCP connections that send half of a ClientHello
    HalfOpenTls,
    /// 10,000 TCP connections that come and go: before the request, in the middle of it, and right
    /// after the upgrade
    ComeAndGo,
    /// Requests to resume connections that do not exist
    ResumeFlood,
    /// A request to resume that was accepted once, sent again and again
    ResumeReplay,
    /// Requests to resume that acknowledge messages that were never sent
    ResumeForged,
    /// Requests to resume a connection whose secret the attacker does not know
    ResumeStolen,
    /// A connection of the attacker's own, resumed again and again
    ResumeAgain,
    /// 12,000 connections that are left without a socket
    SuspendedCrowd,
}

impl Attack {
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    fn tls(self) -> bool {
        self == Self::HalfOpenTls
    }

    /// Whether connections of the victim outlive their sockets.
    fn resumes(self) -> bool {
        matches!(
            self,
            Self::ResumeFlood
                | Self::ResumeReplay
                | Self::ResumeForged
                | Self::ResumeStolen
                | Self::ResumeAgain
                | Self::SuspendedCrowd
        )
    }

    /// Returns the only answer that the victim may give to a request to resume.
    fn answer(self) -> Option<&'static str> {
        match self {
            Self::ResumeFlood | Self::ResumeReplay | Self::ResumeForged | Self::ResumeStolen => {
                Some(SESSION_REFUSED)
            }
            Self::ResumeAgain => Some(resume::ACCEPTED),
            _ => None,
        }
    }

    fn wire(self) -> Wire {
        match self {
            Self::JswsOpenReset
            | Self::JswsTinyMessages
            | Self::JswsOneByteGrants
            | Self::JswsWaiting
            | Self::JswsSparseIds
            | Self::JswsDescendingIds => Wire::JsWs,
            _ => Wire::QMux,
        }
    }

    /// Returns the limit on the growth of the victim's memory, in bytes.
    fn limit(self) -> u64 {
        match self {
            // This is the formula of SPEC.md §10 for one connection: a window and a send buffer for
            // each of 100 bidirectional streams, and a window for each of 100 unidirectional
            // streams.
            Self::NeverReads => 100 * MIB + 50 * MIB + 100 * MIB + 32 * MIB,
            // This is the same formula with an eighth more for the windows and buffers. According
            // to C-70 a copied piece of data may take four times its length, but in fact it takes
            // little more than its length.
            Self::BytesAndChunks => (100 * MIB + 50 * MIB + 100 * MIB) * 9 / 8 + 32 * MIB,
            // The registry is full with 10,000 connections without a socket, each of which takes
            // less than 12 KiB.
            Self::SuspendedCrowd => 10_000 * 12 * 1024 + 32 * MIB,
            // This leaves room for some buffers of an echo, and for memory that the allocator
            // keeps. It also leaves room for the honest client's windows, which may grow meanwhile.
            // None of these amounts grows with the duration of an attack.
            _ => 32 * MIB,
        }
    }

    /// Returns the budgets that may end the attack. The attack has to exhaust one of these budgets.
    /// The list is empty if no budget applies.
    fn budgets(self) -> &'static [&'static str] {
        match self {
            Self::OpenReset | Self::JswsOpenReset => &["cancelled streams"],
            Self::StopRepeated | Self::JswsDescendingIds => &["frames of ended streams"],
            // Which of the two is exhausted depends on how fast the refusals are sent (J-33, C-60).
            Self::JswsWaiting => &["refused streams", "refusals unread"],
            Self::WsPing | Self::QxPing => &["pings"],
            Self::OneByteGrants | Self::JswsOneByteGrants => &["grants"],
            Self::EmptyFrames => &["frames without effect"],
            Self::Padding => &["padding"],
            Self::Blocked => &["blocked frames"],
            // No budget applies to these attacks, because the victim's application uses their data,
            // or because other limits bound them.
            Self::StopSending | Self::TinyMessages | Self::Datagrams => &[],
            Self::JswsTinyMessages | Self::JswsSparseIds => &[],
            Self::NeverReads | Self::BytesAndChunks => &[],
            Self::Spin | Self::HalfOpenSilent | Self::HalfOpenRequest | Self::HalfOpenTls => &[],
            Self::ComeAndGo => &[],
            // The victim answers each request at once, and stores nothing about it.
            Self::ResumeFlood | Self::ResumeReplay | Self::ResumeForged => &[],
            Self::ResumeStolen | Self::ResumeAgain | Self::SuspendedCrowd => &[],
        }
    }
}

/// The results of one attack.
#[derive(Debug, Serialize)]
pub struct Outcome {
    attack: Attack,
    seconds: u64,
    /// The victim's resident memory in bytes before the attack.
    before: u64,
    /// The peak of the victim's resident memory during the attack.
    peak: u64,
    /// The victim's resident memory a short time after the attack.
    after: u64,
    /// How many bytes the victim had allocated before the attack.
    allocated_before: u64,
    /// The most bytes that the victim had allocated at the same time during the attack.
    allocated_peak: u64,
    limit: u64,
    alone: Done,
    beside: Done,
    told: Told,
}

impl Outcome {
    fn growth(&self) -> u64 {
        self.peak.saturating_sub(self.before)
    }

    fn allocated(&self) -> u64 {
        self.allocated_peak.saturating_sub(self.allocated_before)
    }

    /// Returns the faults that the results show.
    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.growth() > self.limit {
            faults.push("the victim's resident memory grew past the limit".to_owned());
        }
        // The allocation is checked too, because memory that was allocated and never used is not
        // resident.
        if self.allocated() > self.limit {
            faults.push("the victim allocated more than the limit".to_owned());
        }
        for done in [&self.alone, &self.beside] {
            faults.extend(done.failure.clone());
            // The client connects only now and then, so a short attack may see no new connection.
            let connects = done.connects > 0 || self.seconds < CONNECTS_WITHIN;
            if done.bytes == 0 || done.calls == 0 || !connects {
                faults.push("the honest client was not served".to_owned());
            }
        }
        let budgets = self.attack.budgets();
        let told = |end: &String| {
            end.contains("EXCESSIVE_LOAD") && budgets.iter().any(|budget| end.ends_with(budget))
        };
        if !budgets.is_empty() && !self.told.ends.keys().any(told) {
            let budgets = budgets.join(" or ");
            faults.push(format!("the attacker was not told of its budget of {budgets}"));
        }
        if let Some(answer) = self.attack.answer()
            && (self.told.ends.is_empty() || self.told.ends.keys().any(|end| !end.contains(answer)))
        {
            faults.push(format!("the answers were not {answer}"));
        }
        faults.dedup();
        faults
    }
}

pub async fn run(attacks: &[Attack], seconds: u64, json: Option<&Path>) -> Result<()> {
    let attacks = if attacks.is_empty() { Attack::value_variants() } else { attacks };
    let mut outcomes = Vec::new();
    for &attack in attacks {
        eprintln!("{} ...", attack.name());
        outcomes.push(one(attack, seconds).await?);
    }
    report::print(&outcomes);
    if let Some(path) = json {
        std::fs::write(path, serde_json::to_string_pretty(&outcomes)?)?;
    }
    let faults: Vec<_> = outcomes.iter().filter(|outcome| !outcome.faults().is_empty()).collect();
    for outcome in &faults {
        println!("FAILED: {}: {}", outcome.attack.name(), outcome.faults().join("; "));
    }
    ensure!(faults.is_empty(), "{} of {} attacks did harm", faults.len(), outcomes.len());
    Ok(())
}

async fn one(attack: Attack, seconds: u64) -> Result<Outcome> {
    let mut arguments = vec!["victim"];
    arguments.extend(attack.tls().then_some("--tls"));
    arguments.extend(attack.resumes().then_some("--resume"));
    let mut victim = Part::start(&arguments)?;
    let address: Address = victim.says().await?;
    let mut honest = Part::start(&["honest", &address.url])?;
    sleep(WARM_UP).await;
    honest.ask::<Done>().await?;
    sleep(ALONE).await;
    let mut alone: Done = honest.ask().await?;

    let before = victim.memory()?.now;
    victim.forget_peak()?;
    let allocated_before = victim.ask::<Heap>().await?.now;
    let (socket, time) = (address.socket.to_string(), seconds.to_string());
    let mut attacker = Part::start(&["attacker", &attack.name(), &socket, &time])?;
    let () = attacker.says().await?;
    honest.ask::<Done>().await?;
    sleep(Duration::from_secs(seconds)).await;
    let beside: Done = honest.ask().await?;
    let told = attacker.says().await?;
    let peak = victim.memory()?.peak;
    let allocated_peak = victim.ask::<Heap>().await?.peak;
    attacker.end().await?;
    sleep(AFTER).await;
    let after = victim.memory()?.now;
    // The client is measured alone both before and after the attack, because results on a shared
    // machine vary.
    honest.ask::<Done>().await?;
    sleep(ALONE).await;
    alone.add(honest.ask().await?);
    honest.end().await?;
    victim.end().await?;
    let limit = attack.limit();
    Ok(Outcome {
        attack,
        seconds,
        before,
        peak,
        after,
        allocated_before,
        allocated_peak,
        limit,
        alone,
        beside,
        told,
    })
}

/// Runs the process of the attacker.
pub async fn attacker(attack: Attack, address: SocketAddr, seconds: u64) -> Result<()> {
    process::reserve_files(rlimit::Resource::NOFILE.get_hard()?)?;
    let until = Instant::now() + Duration::from_secs(seconds);
    process::say(&())?;
    let told = match attack {
        Attack::Spin => {
            while Instant::now() < until {
                std::hint::spin_loop();
            }
            Told::default()
        }
        Attack::HalfOpenSilent => connects::half_open(address, b"", until).await,
        Attack::HalfOpenRequest => {
            connects::half_open(address, connects::HALF_REQUEST, until).await
        }
        Attack::HalfOpenTls => connects::half_open(address, connects::HALF_HELLO, until).await,
        Attack::ComeAndGo => connects::come_and_go(address).await?,
        _ if attack.resumes() => resume::run(attack, address, until).await?,
        _ => flood::flood(attack, address, until).await?,
    };
    process::say(&told)
}
