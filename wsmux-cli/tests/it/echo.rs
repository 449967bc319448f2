use super::support::{Wsmux, run};

#[tokio::test]
async fn an_echo_client_checks_what_its_server_sends_back() {
    let mut server = Wsmux::start(&["echo", "server", "--max-streams", "3"]);
    let url = server.listens().await;
    assert!(url.starts_with("ws://127.0.0.1:") && url.ends_with('/'), "{url}");
    for wire in ["qmux", "jsws"] {
        let args = ["echo", "client", &url, "--streams", "5", "--bytes", "100000", "--wire", wire];
        let (code, stdout, stderr) = run(&args).await;
        assert_eq!((code, &*stderr), (0, ""));
        let expected = "5 streams, 500000 bytes there and back, all as sent; ";
        assert!(stdout.starts_with(expected), "{stdout}");
    }
}

#[tokio::test]
async fn perf_writes_a_line_of_json_for_each_workload() {
    let args = ["perf", "--quick", "--json", "--workload", "rpc1", "--workload", "bulk1"];
    let (code, stdout, stderr) = run(&args).await;
    assert_eq!((code, &*stderr), (0, ""));
    let lines: Vec<_> = stdout.lines().collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[0].contains(r#""workload":"rpc1""#) && lines[0].contains(r#""ops_s":"#));
    assert!(lines[1].contains(r#""workload":"bulk1""#) && lines[1].contains(r#""mib_s":"#));
}
