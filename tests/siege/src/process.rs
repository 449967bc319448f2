//! Runs this program again as a process of its own, and gives access to its input, output and
//! memory.

use std::process::Stdio;

use anyhow::{Context, Result, anyhow, ensure};
use procfs::process::{ClearRefs, Process};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

/// A child process of this program. Dropping this handle kills the process.
pub struct Part {
    child: Child,
    stdin: ChildStdin,
    stdout: Lines<BufReader<ChildStdout>>,
    name: String,
}

/// The resident memory of a process, in bytes.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Memory {
    pub now: u64,
    /// The peak of this memory since the last call of [`Part::forget_peak`].
    pub peak: u64,
}

impl Part {
    pub fn start(arguments: &[&str]) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdin = child.stdin.take().context("a pipe to the child")?;
        let stdout = child.stdout.take().context("a pipe from the child")?;
        let stdout = BufReader::new(stdout).lines();
        Ok(Self { child, stdin, stdout, name: arguments[0].to_owned() })
    }

    /// Waits for the next message of the process.
    pub async fn says<T: DeserializeOwned>(&mut self) -> Result<T> {
        let line = self.stdout.next_line().await?;
        let line = line.ok_or_else(|| anyhow!("the {} has ended", self.name))?;
        serde_json::from_str(&line).with_context(|| format!("the {} says {line}", self.name))
    }

    /// Asks the process for its next message.
    pub async fn ask<T: DeserializeOwned>(&mut self) -> Result<T> {
        self.stdin.write_all(b"\n").await?;
        self.says().await
    }

    fn process(&self) -> Result<Process> {
        let pid = self.child.id().ok_or_else(|| anyhow!("the {} has ended", self.name))?;
        Ok(Process::new(pid.cast_signed())?)
    }

    pub fn memory(&self) -> Result<Memory> {
        memory(&self.process()?)
    }

    pub fn files(&self) -> Result<usize> {
        Ok(self.process()?.fd_count()?)
    }

    pub fn forget_peak(&self) -> Result<()> {
        Ok(self.process()?.clear_refs(ClearRefs::PeakRSS)?)
    }

    pub async fn end(mut self) -> Result<()> {
        drop(self.stdin);
        let status = self.child.wait().await?;
        ensure!(status.success(), "the {}: {status}", self.name);
        Ok(())
    }
}

pub fn memory(process: &Process) -> Result<Memory> {
    let status = process.status()?;
    let bytes = |kib: Option<u64>| kib.map(|kib| kib * 1024).context("the process's memory");
    Ok(Memory { now: bytes(status.vmrss)?, peak: bytes(status.vmhwm)? })
}

/// Sends a message to the process that started this one.
pub fn say<T: Serialize>(what: &T) -> Result<()> {
    println!("{}", serde_json::to_string(what)?);
    Ok(())
}

/// Answers each question, until the process that asks closes the pipe.
pub async fn serve<T: Serialize>(mut answer: impl FnMut() -> Result<T>) -> Result<()> {
    let mut questions = BufReader::new(tokio::io::stdin()).lines();
    while questions.next_line().await?.is_some() {
        say(&answer()?)?;
    }
    // The process exits without dropping anything, because dropping thousands of streams takes time
    // that is not to be measured.
    std::process::exit(0);
}

/// Raises the limit on file descriptors to `wanted`. Fails if the system does not permit that many.
pub fn reserve_files(wanted: u64) -> Result<()> {
    let (_, hard) = rlimit::Resource::NOFILE.get()?;
    if wanted <= hard || rlimit::Resource::NOFILE.set(wanted, wanted).is_err() {
        rlimit::Resource::NOFILE.set(hard.min(wanted.max(1024)), hard)?;
    }
    let got = rlimit::Resource::NOFILE.get_soft()?;
    ensure!(got >= wanted, "{wanted} file descriptors are needed, and the system permits {got}");
    Ok(())
}
