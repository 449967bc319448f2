use wsmux_testing::server::Tls;

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
    let args = ["perf", "--quick", "--json", "--workload", "rpc1", "--workload", "small"];
    let (code, stdout, stderr) = run(&args).await;
    assert_eq!((code, &*stderr), (0, ""));
    let lines: Vec<_> = stdout.lines().collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[0].contains(r#""workload":"rpc1""#) && lines[0].contains(r#""ops_s":"#));
    assert!(lines[1].contains(r#""workload":"small""#) && lines[1].contains(r#""mib_s":"#));
}

#[tokio::test]
async fn a_server_with_a_certificate_of_its_own_is_trusted_by_its_root() {
    let tls = Tls::new("127.0.0.1");
    let directory = format!("{}/{}", env!("CARGO_TARGET_TMPDIR"), std::process::id());
    std::fs::create_dir_all(&directory).unwrap();
    let files = [("root.pem", &tls.root_pem), ("cert.pem", &tls.pem), ("key.pem", &tls.key_pem)];
    let [root, cert, key] = files.map(|(name, pem)| {
        let path = format!("{directory}/{name}");
        std::fs::write(&path, pem).unwrap();
        path
    });
    let mut server = Wsmux::start(&["echo", "server", "--tls", "--cert", &cert, "--key", &key]);
    let url = server.listens().await;
    let (code, _, stderr) = run(&["echo", "client", &url, "--bytes", "1", "--ca", &root]).await;
    assert_eq!((code, &*stderr), (0, ""));
    let (code, _, stderr) = run(&["echo", "client", &url, "--bytes", "1"]).await;
    assert_eq!(code, 1);
    assert!(stderr.starts_with("error: TLS: "), "{stderr}");
    // This file contains no certificate.
    let (code, _, stderr) = run(&["echo", "client", &url, "--ca", &key]).await;
    assert_eq!((code, stderr.lines().count()), (1, 1), "{stderr}");
    std::fs::remove_dir_all(&directory).unwrap();
}
