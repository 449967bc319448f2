//! Runs commands, and reports how they end.

use std::{
    env, fmt,
    path::{Path, PathBuf},
    process::{self, ExitCode, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};

/// The exit status that says that a tool is missing.
const MISSING: u8 = 77;

pub type Outcome = Result<(), Failure>;

pub enum Failure {
    /// A command failed, or its output is wrong.
    Failed(String),
    /// A tool is missing, so something was not checked.
    Missing(String),
}

impl Failure {
    pub fn missing(tool: &str, lost: &str) -> Self {
        Self::Missing(format!("MISSING: {tool}: {lost}"))
    }

    pub fn failed(what: impl fmt::Display) -> Self {
        Self::Failed(format!("FAILED: {what}"))
    }

    pub fn code(&self) -> ExitCode {
        match self {
            Self::Failed(_) => ExitCode::FAILURE,
            Self::Missing(_) => ExitCode::from(MISSING),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Failed(text) | Self::Missing(text)) = self;
        f.write_str(text)
    }
}

/// Returns the root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is in the repository")
}

/// Prints the time of day (UTC) and the name of the step that begins.
pub fn step(name: &str) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let (hours, minutes, seconds) = (now / 3_600 % 24, now / 60 % 60, now % 60);
    println!("\n## {hours:02}:{minutes:02}:{seconds:02} {name}");
}

/// Returns a command that runs the same cargo that runs this program.
pub fn cargo(arguments: &[&str]) -> Command {
    Command::new("cargo").args(arguments)
}

/// Returns a command that runs the cargo of one of rustup's toolchains.
pub fn cargo_nightly(toolchain: &str, arguments: &[&str]) -> Command {
    Command::new("cargo").args(&[&format!("+{toolchain}")]).args(arguments)
}

/// A command that runs in the root of the repository.
pub struct Command {
    command: process::Command,
    words: Vec<String>,
}

impl Command {
    pub fn new(program: &str) -> Self {
        let mut command = process::Command::new(program);
        command.current_dir(root());
        // Cargo sets these variables (`CARGO_PKG_*` and `CARGO_MANIFEST_*`) for this program. The
        // command runs without them. Otherwise build scripts that depend on the variables would run
        // again.
        for (name, _) in env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
                command.env_remove(&*name);
            }
        }
        Self { command, words: vec![program.to_owned()] }
    }

    pub fn args(mut self, arguments: &[&str]) -> Self {
        self.command.args(arguments);
        self.words.extend(arguments.iter().map(|&argument| argument.to_owned()));
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs the command with these environment variables and no others.
    pub fn only_env(mut self, variables: &[(&str, &str)]) -> Self {
        self.command.env_clear().envs(variables.iter().copied());
        self
    }

    /// Runs the command, after printing the step's name.
    pub fn step(self, name: &str) -> Outcome {
        step(name);
        self.run()
    }

    pub fn run(mut self) -> Outcome {
        match self.command.status() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(Failure::failed(format!("{} ({status})", self.words.join(" ")))),
            Err(error) => Err(Failure::failed(format!("{}: {error}", self.words.join(" ")))),
        }
    }

    /// Whether the command can be run and succeeds. Its output is discarded.
    pub fn succeeds(mut self) -> bool {
        let quiet = self.command.stdout(Stdio::null()).stderr(Stdio::null());
        quiet.status().is_ok_and(|status| status.success())
    }

    /// Runs the command and returns what it prints. Its standard error is shown.
    pub fn output(mut self) -> Result<String, Failure> {
        let words = self.words.join(" ");
        let output = self.command.stderr(Stdio::inherit()).output();
        match output {
            Ok(output) if output.status.success() => String::from_utf8(output.stdout)
                .map_err(|_| Failure::failed(format!("{words} printed no text"))),
            Ok(output) => Err(Failure::failed(format!("{words} ({})", output.status))),
            Err(error) => Err(Failure::failed(format!("{words}: {error}"))),
        }
    }

    /// Starts the command, and writes all its output to a file.
    pub fn start(mut self, log: &PathBuf) -> Result<process::Child, Failure> {
        let words = self.words.join(" ");
        let file = std::fs::File::create(log).and_then(|file| Ok((file.try_clone()?, file)));
        let started = file.and_then(|(out, err)| {
            self.command.stdin(Stdio::null()).stdout(out).stderr(err).spawn()
        });
        started.map_err(|error| Failure::failed(format!("{words}: {error}")))
    }
}
