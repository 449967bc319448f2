use std::{future::poll_fn, task::Poll};

use super::{
    support::{TOKEN, Wsmux, far, run},
    tcp::listener,
};

#[tokio::test]
async fn ping_reports_round_trips_on_both_wires() {
    let mut server = Wsmux::start(&["echo", "server", "--tls"]);
    let url = server.listens().await;
    for wire in ["qmux", "jsws"] {
        let args = ["ping", &url, "-c", "3", "-i", "0.1", "--insecure", "--wire", wire];
        let (code, stdout, stderr) = run(&args).await;
        assert_eq!((code, &*stderr), (0, ""), "{stdout}");
        let lines: Vec<_> = stdout.lines().collect();
        assert!(lines[0].starts_with("PING 127.0.0.1:") && lines[0].contains(": connected in "));
        for (seq, line) in (1..).zip(&lines[1..4]) {
            assert!(line.contains(&format!(": seq={seq} time=")), "{line}");
        }
        assert!(lines[5].ends_with(" ms, 3 of 3 answers"), "{stdout}");
        let times = lines[6].strip_prefix("rtt min/avg/max = ").unwrap();
        let times: Vec<f64> =
            times.trim_end_matches(" ms").split('/').map(|time| time.parse().unwrap()).collect();
        assert!(times[0] > 0.0 && times.is_sorted(), "{stdout}");
    }
}

/// `ping` must not open a stream, because for each stream the far end of a tunnel would connect to
/// its target.
#[tokio::test]
async fn ping_opens_no_stream() {
    let (target, address) = listener().await;
    let (_far, url) = far(&["--target", &address, "--token", TOKEN]).await;
    let ping = ["ping", &url, "-c", "2", "-i", "0.1", "--token", TOKEN];
    let (code, stdout, stderr) = run(&[&ping[..], &["--protocol", "wsmux-forward"]].concat()).await;
    assert_eq!((code, &*stderr), (0, ""), "{stdout}");
    // If a stream had been opened, a connection to the target would have arrived before the end of
    // the pings.
    let accept = poll_fn(|cx| Poll::Ready(target.poll_accept(cx).is_pending()));
    assert!(accept.await, "something connected to the target");
}

#[tokio::test]
async fn ping_fails_readably_where_nobody_listens() {
    let (listener, address) = listener().await;
    drop(listener);
    let (code, stdout, stderr) = run(&["ping", &format!("ws://{address}/?key=hidden")]).await;
    assert_eq!((code, &*stdout), (1, ""));
    assert!(stderr.starts_with("error: could not connect: "), "{stderr}");
    assert!(!stderr.contains("hidden") && stderr.lines().count() == 1, "{stderr}");
}
