//! Tests the example page in Chromium. Each test acts like a user, and checks what the page then
//! shows. The tests need Chromium, chromedriver, and the npm package, which `js/pack` builds:
//! `cargo test --package wsmux-browser-page --test page`.

mod browser;
mod picture;
mod server;

use browser::{Look, Shown, visit};
use server::Server;

/// A number of bytes that is larger than several windows. A stream cannot move this many bytes with
/// the credit that was granted before a stall.
const FAR: u64 = 4 * 1024 * 1024;

/// After at most this many samples, the credit that was granted before a stall is used up.
const SETTLES: usize = 3;

async fn stalled_streams_stand_still_alone(wire: &str) {
    let server = Server::start();
    visit(
        server.address,
        &format!("?wire={wire}&down=12&up=4"),
        Look::default(),
        async |browser| {
            let all =
                browser.until("all flow", |page| page.cards.len() == 16 && page.all_moved(1)).await;
            // The page reads the stream Nile, and the server reads the stream Inn.
            for name in ["Nile", "Inn"] {
                assert!(!all[name].stalled);
                browser.click_stall(name).await;
                // A credit of 0 does not prove that the reader has stopped. The sender may use up
                // its credit for a moment while the reader still reads, for example until the
                // server receives the page's `stall` command. So the test samples again until the
                // stream no longer moves.
                let mut full = browser.until_used_up(name).await;
                for _ in 0..SETTLES {
                    let later = browser
                        .until("the others move far", |page| {
                            let mut others = page.cards.iter().filter(|card| card.name != name);
                            others.all(|card| card.moved >= full[&card.name].moved + FAR)
                        })
                        .await;
                    if later[name] == full[name] {
                        break;
                    }
                    full = browser.until_used_up(name).await;
                }
                let later = browser
                    .until("the others move far again", |page| {
                        let mut others = page.cards.iter().filter(|card| card.name != name);
                        others.all(|card| card.moved >= full[&card.name].moved + 2 * FAR)
                    })
                    .await;
                assert_eq!(later[name], full[name], "{later:?}");
                let verdict = format!("{name} stands still, the other 15 flow");
                browser.until("it is said", |page| page.verdict.starts_with(&verdict)).await;

                browser.click_stall(name).await;
                let resumed = browser
                    .until("it goes on", |page| page[name].moved >= full[name].moved + FAR)
                    .await;
                assert!(!resumed[name].stalled, "{resumed:?}");
            }
        },
    )
    .await;
}

#[tokio::test]
async fn a_stalled_stream_stands_still_and_the_others_go_on_over_qmux() {
    stalled_streams_stand_still_alone("qmux").await;
}

#[tokio::test]
async fn a_stalled_stream_stands_still_and_the_others_go_on_over_js_ws() {
    stalled_streams_stand_still_alone("js-ws").await;
}

#[tokio::test]
async fn one_flows_on_when_all_others_are_stalled() {
    let server = Server::start();
    visit(server.address, "", Look::default(), async |browser| {
        browser.until("all flow", |page| page.cards.len() == 16 && page.all_moved(1)).await;
        browser.click("#stall-all").await;
        let others = |page: &Shown| page.cards[1..].iter().all(|card| card.credit == 0);
        let full = browser.until("the others' credit is used up", others).await;
        let far = |page: &Shown| page.cards[0].moved >= full.cards[0].moved + FAR;
        let later = browser.until("the one moves far", far).await;
        for card in &full.cards[1..] {
            assert_eq!(
                (later[&card.name].moved, later[&card.name].credit),
                (card.moved, 0),
                "{later:?}"
            );
        }
        assert!(later.verdict.starts_with("15 stand still, the other one flows"), "{later:?}");

        browser.click("#resume-all").await;
        let goes_on = |page: &Shown| page.all_moved_since(&later, FAR);
        let resumed = browser.until("all go on", goes_on).await;
        assert!(resumed.cards.iter().all(|card| !card.stalled));
    })
    .await;
}

#[tokio::test]
async fn the_keyboard_is_enough() {
    let server = Server::start();
    visit(server.address, "?down=2&up=0", Look::default(), async |browser| {
        browser.until("both flow", |page| page.cards.len() == 2 && page.all_moved(1)).await;
        // Before Tab reaches the stream's button, it passes the settings and the two buttons for
        // all streams.
        browser.tab_to(r#"[data-name="Nile"] button"#).await;
        browser.press(' ').await;
        let full = browser.until("its credit is used up", |page| page["Nile"].credit == 0).await;
        assert!(full["Nile"].stalled && !full["Rhine"].stalled);
        browser.press('\u{e007}').await;
        browser.until("it goes on", |page| page["Nile"].moved > full["Nile"].moved).await;
    })
    .await;
}

#[tokio::test]
async fn a_lost_connection_is_told_and_a_new_one_flows() {
    let server = Server::start();
    visit(server.address, "", Look::default(), async |browser| {
        browser.until("all flow", |page| page.cards.len() == 16 && page.all_moved(1)).await;
        assert!(!browser.is_displayed("#lost").await);
        let server = server.lose().await;
        let lost = browser.until("the loss is told", |page| page.state == "lost").await;
        assert!(browser.is_displayed("#lost").await);
        assert!(lost.ended.contains("The connection is lost"), "{lost:?}");
        assert_eq!(lost.verdict, "Nothing moves");

        // The server is gone, so the page says that it cannot connect, and lets the user retry.
        browser.click("#reconnect").await;
        browser
            .until("the failure is told", |page| page.state == "lost" && page.cards.is_empty())
            .await;
        let _server = server.restart();
        browser.click("#reconnect").await;
        browser.until("all flow", |page| page.cards.len() == 16 && page.all_moved(1)).await;
        assert!(!browser.is_displayed("#lost").await);
    })
    .await;
}

#[tokio::test]
async fn streams_outlive_the_socket_that_a_button_cuts() {
    let server = Server::start();
    visit(server.address, "?down=6&up=2", Look::default(), async |browser| {
        let mut page =
            browser.until("all flow", |page| page.cards.len() == 8 && page.all_moved(1)).await;
        for losses in 1..=3 {
            browser.click("#cut").await;
            browser.until("the socket is back", |page| page.resumptions == losses).await;
            page = browser.until("all go on", |now| now.all_moved_since(&page, FAR)).await;
            assert_eq!(page.state, "open");
        }
        assert!(!browser.is_displayed("#lost").await);
        browser.until("full rate", |page| page.verdict == "All 8 streams flow at full rate").await;
    })
    .await;
}

#[tokio::test]
async fn the_settings_take_effect() {
    let server = Server::start();
    visit(server.address, "?down=3&up=1", Look::default(), async |browser| {
        let flow = |count| move |page: &Shown| page.cards.len() == count && page.all_moved(1);
        browser.until("all flow", flow(4)).await;
        browser.set("down", 5).await;
        browser.until("more flow", flow(6)).await;
        browser.set("up", 0).await;
        browser.set("down", 2).await;
        let fewer = browser.until("fewer flow", flow(2)).await;
        browser.until("those that stay go on", |page| page.all_moved_since(&fewer, 1)).await;
        browser.click(r#".wire label:has([value="js-ws"])"#).await;
        // The streams of another connection start from zero.
        browser.until("another wire", |page| page.wire == "js-ws" && page.all_below(&fewer)).await;
        browser.until("they flow", flow(2)).await;
    })
    .await;
}

#[tokio::test]
async fn it_fits_a_phone() {
    let server = Server::start();
    visit(
        server.address,
        "",
        Look { width: 360, height: 740, ..Look::default() },
        async |browser| {
            browser.until("all flow", |page| page.cards.len() == 16 && page.all_moved(1)).await;
            let [content, window] = browser.widths().await;
            assert!(content <= window, "{content} of {window} pixels");
        },
    )
    .await;
}

/// Takes the pictures of the README. The script examples/browser/screenshot runs this.
#[tokio::test]
#[ignore = "writes into the repository"]
async fn it_has_its_picture_taken() {
    for (name, dark) in [("screenshot.png", false), ("screenshot-dark.png", true)] {
        let server = Server::start_at_rate(1024 * 1024);
        let look = Look { width: 1200, height: 1345, dark };
        visit(server.address, "", look, async |browser| {
            let far = |seconds: u64| move |page: &Shown| page["Rhine"].moved >= seconds << 20;
            browser.until("all flow", |page| page.cards.len() == 16 && page.all_moved(1)).await;
            browser.until("the curves begin", far(14)).await;
            browser.click_stall("Tagus").await;
            browser.until("they go on", far(20)).await;
            browser.click_stall("Tagus").await;
            browser.until("they go on", far(27)).await;
            browser.click_stall("Indus").await;
            browser.until("they go on", far(41)).await;
            browser.photograph(name).await;
        })
        .await;
    }
}
