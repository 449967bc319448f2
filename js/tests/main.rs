//! Runs the npm package's tests in headless Chromium, against wsmux on both wires and the crate
//! `qmux`. The tests themselves are in `page/`; each runs in a page of its own, once against each
//! kind of server that it names. This file starts the site and the browser, gives each test its own
//! server and network, and checks the number of tests. `js/test` builds the package and then runs
//! this file.

mod browser;
mod journal;
mod peer;
mod relay;
mod scripted;
mod site;

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context, bail, ensure};
use libtest_mimic::{Arguments, Trial};
use serde_json::json;

use browser::Browser;
use peer::Kind;
use site::Site;

/// The number of all tests, which is checked so that no test is lost unnoticed.
const TESTS: usize = 175;

/// The time limit of a test. A test that reaches the limit has failed. The longest test moves 64
/// MiB there and back in a debug build.
const PATIENCE: Duration = Duration::from_secs(240);

fn main() -> anyhow::Result<()> {
    let arguments = Arguments { test_threads: Some(1), ..Arguments::from_args() };
    let runtime = Arc::new(tokio::runtime::Runtime::new()?);
    let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dist");
    ensure!(dist.join("wsmux.js").is_file(), "js/dist is not there: js/pack makes it");
    let site = Arc::new(runtime.block_on(Site::start(&dist))?);
    let browser = Arc::new(runtime.block_on(Browser::start())?);

    // If the tests cannot be loaded, the error is shown instead of their list.
    let list = "import('/page/tests.js')
        .then(({ list }) => arguments[0](list()))
        .catch((error) => arguments[0](String(error)))";
    let listed = runtime.block_on(async {
        browser.open(&site.url()).await?;
        browser.run(list, vec![]).await
    })?;
    if let Some(error) = listed.as_str() {
        bail!("the tests cannot be loaded: {error}");
    }
    let listed: Vec<(String, Vec<String>)> = serde_json::from_value(listed)?;
    let mut trials = Vec::new();
    for (name, peers) in listed {
        for peer in peers {
            let kind = Kind::from_name(&peer).with_context(|| format!("no peer {peer}"))?;
            let (runtime, site, browser) = (runtime.clone(), site.clone(), browser.clone());
            let name = name.clone();
            trials.push(Trial::test(format!("{peer}: {name}"), move || {
                Ok(runtime.block_on(run(&browser, &site, &name, kind))?)
            }));
        }
    }
    let found = trials.len();
    let conclusion = libtest_mimic::run(&arguments, trials);
    runtime.block_on(browser.quit());
    // `exit` runs no destructors, so the browser is dropped first.
    drop(browser);
    ensure!(found == TESTS, "{found} tests, where {TESTS} were to be found");
    let all = arguments.filter.is_none() && arguments.skip.is_empty() && !arguments.list;
    let ran = conclusion.num_passed + conclusion.num_failed;
    ensure!(!all || ran == TESTS as u64, "{ran} tests ran, of {TESTS}");
    conclusion.exit()
}

/// Runs one test in a new page, with a server and a network of its own.
async fn run(browser: &Browser, site: &Site, name: &str, kind: Kind) -> anyhow::Result<()> {
    let url = site.set_up(kind).await?;
    browser.open(&site.url()).await?;
    let options = json!({ "url": url, "peer": kind.name(), "wire": kind.wire() });
    let mut script = "const [name, options, done] = arguments;
        import('/page/tests.js')
            .then(({ start, news }) => (start(name, options), news()))
            .then(done, (error) => done(String(error)))";
    let mut arguments = vec![name.into(), options];
    loop {
        let said = browser.run(script, arguments).await?;
        // The page asks for actions that it cannot do itself.
        match said["wanted"].as_str() {
            Some("hide") => browser.hide().await?,
            Some("show") => browser.show().await?,
            Some("freeze") => {
                browser.freeze(true).await?;
                site.lose_connections().await;
                browser.freeze(false).await?;
            }
            _ => {
                ensure!(said == "passed", "{}", said.as_str().unwrap_or("the page said nothing"));
                return Ok(());
            }
        }
        script = "const [done] = arguments;
            import('/page/tests.js')
                .then((tests) => (tests.done(), tests.news()))
                .then(done, (error) => done(String(error)))";
        arguments = vec![];
    }
}
