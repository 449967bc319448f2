//! Chromium with the page in it, controlled by chromedriver.

use std::{
    env, fs,
    net::SocketAddr,
    ops::Index,
    panic::{AssertUnwindSafe, resume_unwind},
    path::{Path, PathBuf},
    process::Stdio,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use futures_util::FutureExt;
use serde::Deserialize;
use serde_json::json;
use thirtyfour::{
    By, CapabilitiesHelper, ChromiumLikeCapabilities, DesiredCapabilities, TypingData, WebDriver,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    sync::{Mutex, MutexGuard},
    time::{Instant, sleep},
};

use crate::picture::with_palette;

/// A time limit. A test that reaches it has failed.
const LIMIT: Duration = Duration::from_secs(120);

/// The time between two polls of the page, which changes four times a second.
const LOOK: Duration = Duration::from_millis(100);

/// The largest picture in bytes. Every clone of the repository contains it.
const MAX_PICTURE: usize = 200_000;

/// Lets only one test at a time use a browser, because two browsers with sixteen streams each are
/// too much for a small machine.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// The script that reads what the page shows.
const READ: &str = r#"
    const number = (card, what) => Number(card.querySelector(`${what} data`).value);
    return {
        state: document.body.dataset.state,
        wire: document.querySelector("[name=wire]:checked").value,
        verdict: document.getElementById("verdict").textContent,
        resumptions: Number(document.body.dataset.resumptions),
        ended: document.getElementById("lost").textContent,
        cards: [...document.querySelectorAll(".card")].map((card) => ({
            name: card.querySelector("h3").textContent,
            stalled: card.querySelector("button").ariaPressed === "true",
            moved: number(card, ".moved"),
            credit: number(card, ".credit"),
            buffered: number(card, ".buffered"),
        })),
    };
"#;

/// One stream, as the page shows it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Card {
    pub(crate) name: String,
    pub(crate) stalled: bool,
    pub(crate) moved: u64,
    pub(crate) credit: u64,
    pub(crate) buffered: u64,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Shown {
    pub(crate) state: String,
    pub(crate) wire: String,
    pub(crate) verdict: String,
    pub(crate) resumptions: u32,
    pub(crate) ended: String,
    pub(crate) cards: Vec<Card>,
}

impl Shown {
    /// Whether each stream has moved at least this many bytes.
    pub(crate) fn all_moved(&self, bytes: u64) -> bool {
        self.cards.iter().all(|card| card.moved >= bytes)
    }

    /// Whether each stream has moved at least this many more bytes.
    pub(crate) fn all_moved_since(&self, before: &Self, bytes: u64) -> bool {
        self.cards.iter().all(|card| card.moved >= before[&card.name].moved + bytes)
    }

    /// Whether there are any streams, and each has moved fewer bytes than the stream of the same
    /// name in `before`.
    pub(crate) fn all_below(&self, before: &Self) -> bool {
        !self.cards.is_empty()
            && self.cards.iter().all(|card| card.moved < before[&card.name].moved)
    }
}

impl Index<&str> for Shown {
    type Output = Card;

    fn index(&self, name: &str) -> &Card {
        let found = self.cards.iter().find(|card| card.name == name);
        found.unwrap_or_else(|| panic!("no card of {name}: {self:?}"))
    }
}

impl Index<&String> for Shown {
    type Output = Card;

    fn index(&self, name: &String) -> &Card {
        &self[name.as_str()]
    }
}

/// The window's size in CSS pixels, and the preferred colour scheme.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) dark: bool,
}

impl Default for Look {
    fn default() -> Self {
        Self { width: 1280, height: 1000, dark: false }
    }
}

pub(crate) struct Browser {
    driver: WebDriver,
    process: Child,
    profile: PathBuf,
    _turn: MutexGuard<'static, ()>,
}

/// Opens the page for a test. The browser ends with the test, even if the test fails.
pub(crate) async fn visit(
    address: SocketAddr,
    query: &str,
    look: Look,
    test: impl AsyncFnOnce(&Browser),
) {
    let browser = Browser::open(address, query, look).await;
    let outcome = AssertUnwindSafe(test(&browser)).catch_unwind().await;
    browser.close().await;
    if let Err(panic) = outcome {
        resume_unwind(panic);
    }
}

impl Browser {
    async fn open(address: SocketAddr, query: &str, look: Look) -> Self {
        let turn = ONE_AT_A_TIME.lock().await;
        let (process, port) = chromedriver().await;
        let profile = profile();
        let mut capabilities = DesiredCapabilities::chrome();
        let profile_argument = format!("--user-data-dir={}", profile.display());
        let scheme = format!("--blink-settings=preferredColorScheme={}", u8::from(!look.dark));
        for argument in [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--no-first-run",
            "--hide-scrollbars",
            &profile_argument,
            &scheme,
        ] {
            capabilities.add_arg(argument).expect("an argument");
        }
        let size =
            json!({"width": look.width, "height": look.height, "pixelRatio": 1.0, "mobile": false});
        capabilities
            .add_experimental_option("mobileEmulation", json!({ "deviceMetrics": size }))
            .expect("an option");
        capabilities.set("goog:loggingPrefs", json!({ "browser": "ALL" })).expect("a preference");
        let driver = WebDriver::new(format!("http://127.0.0.1:{port}"), capabilities).await;
        let driver = driver.expect("a browser");
        let url = format!("http://{address}/{query}");
        driver.goto(url).await.expect("a page");
        Self { driver, process, profile, _turn: turn }
    }

    async fn read(&self) -> Shown {
        let read = self.driver.execute(READ, Vec::new()).await.expect("a page");
        read.convert().expect("what the page shows")
    }

    /// Polls the page until it shows the expected state.
    pub(crate) async fn until(&self, what: &str, shows: impl Fn(&Shown) -> bool) -> Shown {
        let end = Instant::now() + LIMIT;
        loop {
            let shown = self.read().await;
            if shows(&shown) {
                return shown;
            }
            if Instant::now() > end {
                let log = self.driver.browser_log().await;
                panic!("in vain: {what}\n{shown:#?}\n{log:#?}");
            }
            sleep(LOOK).await;
        }
    }

    pub(crate) async fn click(&self, selector: &str) {
        let element = self.driver.find(By::Css(selector)).await.expect(selector);
        element.scroll_into_view().await.expect(selector);
        element.click().await.expect(selector);
    }

    /// Waits until a stalled stream has used up its credit, and has bytes that wait for credit.
    pub(crate) async fn until_used_up(&self, name: &str) -> Shown {
        let full = self.until("its credit is used up", |page| page[name].credit == 0).await;
        assert!(full[name].stalled && full[name].buffered > 0, "{full:?}");
        full
    }

    /// Clicks this stream's button.
    pub(crate) async fn click_stall(&self, name: &str) {
        self.click(&format!(r#"[data-name="{name}"] button"#)).await;
    }

    pub(crate) async fn is_displayed(&self, selector: &str) -> bool {
        let element = self.driver.find(By::Css(selector)).await.expect(selector);
        element.is_displayed().await.expect(selector)
    }

    /// Presses Tab until this element has the focus.
    pub(crate) async fn tab_to(&self, selector: &str) {
        for _ in 0..50 {
            self.press('\u{e004}').await;
            let script = "return document.activeElement.matches(arguments[0])";
            let focused = self.driver.execute(script, vec![json!(selector)]).await.expect(selector);
            if focused.json() == &json!(true) {
                return;
            }
        }
        panic!("the tabulator does not lead to {selector}");
    }

    /// Presses a key on the focused element.
    pub(crate) async fn press(&self, key: char) {
        let keys = self.driver.action_chain().send_keys(TypingData::from(key.to_string()));
        keys.perform().await.expect("a key");
    }

    /// Enters a number in the settings.
    pub(crate) async fn set(&self, name: &str, value: u32) {
        let input = self.driver.find(By::Css(format!("[name={name}]"))).await.expect(name);
        input.clear().await.expect(name);
        input.send_keys(format!("{value}\u{e007}")).await.expect(name);
    }

    /// Returns the widths of the layout and of the window, in CSS pixels.
    pub(crate) async fn widths(&self) -> [u32; 2] {
        let script = "return [document.documentElement.scrollWidth, innerWidth]";
        let widths = self.driver.execute(script, Vec::new()).await.expect("a page");
        widths.convert().expect("two numbers")
    }

    /// Writes a picture of the window to a file beside the page.
    pub(crate) async fn photograph(&self, name: &str) {
        let picture = self.driver.screenshot_as_png().await.expect("a picture");
        let picture = with_palette(&picture);
        assert!(picture.len() < MAX_PICTURE, "{name}: {} bytes", picture.len());
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        fs::write(path, picture).expect("a file");
    }

    async fn close(mut self) {
        self.driver.clone().quit().await.expect("a browser that closes");
        self.process.kill().await.expect("a process that ends");
        let _ = fs::remove_dir_all(&self.profile);
    }
}

/// Starts chromedriver, and waits for the port that it chose.
async fn chromedriver() -> (Child, u16) {
    let name = env::var_os("CHROMEDRIVER").unwrap_or_else(|| "chromedriver".into());
    let started = Command::new(&name)
        .arg("--port=0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let mut process = started.unwrap_or_else(|error| panic!("MISSING: {name:?}: {error}"));
    let mut lines = BufReader::new(process.stdout.take().expect("a pipe")).lines();
    while let Some(line) = lines.next_line().await.expect("a pipe") {
        let Some((_, port)) = line.split_once("started successfully on port ") else { continue };
        let port = port.trim_end_matches('.').parse().expect("a port");
        // chromedriver would block on a pipe that nobody reads.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        return (process, port);
    }
    panic!("{name:?} said no port");
}

/// Returns a directory for the profile that no other browser uses.
fn profile() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let path = env::temp_dir().join(format!("wsmux-page-{}-{count}", std::process::id()));
    fs::create_dir_all(&path).expect("a directory");
    path
}
