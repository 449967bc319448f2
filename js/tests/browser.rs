//! Chromium, which chromedriver controls.

use std::process::Stdio;

use anyhow::Context;
use serde_json::{Value, json};
use thirtyfour::{ChromiumLikeCapabilities, DesiredCapabilities, WebDriver};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use crate::PATIENCE;

pub(crate) struct Browser {
    driver: WebDriver,
    /// Dropping this ends the browser.
    _chromedriver: Child,
}

const FLAGS: [&str; 8] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

impl Browser {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let (chromedriver, port) = start_chromedriver().await?;
        let mut capabilities = DesiredCapabilities::chrome();
        for flag in FLAGS {
            capabilities.add_arg(flag)?;
        }
        let driver = WebDriver::new(format!("http://127.0.0.1:{port}"), capabilities).await?;
        driver.set_script_timeout(PATIENCE).await?;
        Ok(Self { driver, _chromedriver: chromedriver })
    }

    /// Navigates to another page.
    pub(crate) async fn open(&self, url: &str) -> anyhow::Result<()> {
        self.driver.goto("about:blank").await?;
        Ok(self.driver.goto(url).await?)
    }

    /// Runs a script. The script's last argument is a function. Returns the value that the script
    /// passes to this function.
    pub(crate) async fn run(&self, script: &str, arguments: Vec<Value>) -> anyhow::Result<Value> {
        Ok(self.driver.execute_async(script, arguments).await?.json().clone())
    }

    /// Freezes or thaws the page. A browser freezes a page that was hidden for long.
    pub(crate) async fn freeze(&self, frozen: bool) -> anyhow::Result<()> {
        let state = if frozen { "frozen" } else { "active" };
        let state = json!({ "state": state });
        self.driver.cdp().send_raw("Page.setWebLifecycleState", state).await?;
        Ok(())
    }

    /// Minimizes the browser's window, which hides the page.
    pub(crate) async fn hide(&self) -> anyhow::Result<()> {
        Ok(self.driver.minimize_window().await?)
    }

    pub(crate) async fn show(&self) -> anyhow::Result<()> {
        Ok(self.driver.maximize_window().await?)
    }

    pub(crate) async fn quit(&self) {
        // If chromedriver does not answer, the browser ends together with chromedriver.
        let _ = self.driver.clone().quit().await;
    }
}

async fn start_chromedriver() -> anyhow::Result<(Child, u16)> {
    let program = std::env::var("CHROMEDRIVER").unwrap_or_else(|_| "chromedriver".into());
    let mut chromedriver = Command::new(&program)
        .arg("--port=0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("MISSING: {program}"))?;
    let stdout = chromedriver.stdout.take().context("a pipe")?;
    let mut lines = BufReader::new(stdout).lines();
    while let Some(line) = lines.next_line().await? {
        if let Some((_, port)) = line.split_once("started successfully on port ") {
            let port = port.trim_end_matches('.').parse()?;
            // chromedriver goes on writing, and would block if nobody read from the pipe.
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return Ok((chromedriver, port));
        }
    }
    anyhow::bail!("{program} did not start")
}
