//! The server of `http_axum` with a real browser: Chromium, from Debian's package of that name.

use std::{collections::HashSet, process::Stdio};

use wsmux::http::Version;

// The module `server` is not in `wsmux-testing`, because all tests would then be built with the
// features that the module needs.
#[path = "../it/http_axum/server.rs"]
#[allow(dead_code, reason = "`http_axum` uses the rest")]
mod server;

use server::{Kind, Server, version, within};

const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

#[tokio::test]
async fn three_websockets_of_a_page_share_one_tcp_connection() {
    let server = Server::start(Kind::TLS).await;
    let profile = tempdir();
    let url = format!("https://localhost:{}/browser", server.address.port());
    let mut browsers = NAMES.iter().filter_map(|name| {
        tokio::process::Command::new(name)
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args(["--ignore-certificate-errors", "--disable-background-networking"])
            .args(["--no-first-run", "--remote-debugging-port=0"])
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg(&url)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .ok()
    });
    let mut browser = browsers.next().expect("MISSING: none of chromium's names is installed");
    let said = within("the page", server.said()).await.unwrap();
    let tcp = server.tcp_connections();
    let mut versions = Vec::new();
    let mut below = HashSet::new();
    for _ in 0..3 {
        let accepted = server.accepted().await;
        versions.push(version(&accepted));
        below.insert(accepted.remote_address().unwrap());
    }
    browser.kill().await.unwrap();
    let _ = std::fs::remove_dir_all(&profile);
    // Chromium may open further TCP connections, on which it requests nothing or only pages. So the
    // number of all TCP connections is not checked.
    eprintln!("Chromium: {said}; {versions:?}; over {below:?}, of {tcp} TCP connections in all");
    assert_eq!(said, ["echo on qmux-02"; 3].join(", "));
    assert_eq!(versions, [Version::HTTP_2; 3]);
    assert_eq!(below.len(), 1);
}

fn tempdir() -> std::path::PathBuf {
    let dir = std::env::temp_dir().join(format!("wsmux-chromium-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    dir
}
