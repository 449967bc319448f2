use super::support::{TOKEN, run};

/// Each error is reported as clap reports its errors, with exit code 2.
#[tokio::test]
async fn arguments_that_make_no_sense_are_explained() {
    const FAR: [&str; 3] = ["forward", "--serve", "127.0.0.1:0"];
    const NEAR: [&str; 3] = ["forward", "--to", "ws://127.0.0.1:1/"];
    let cases: [(&[&str], &[&str], &str); 10] = [
        (&FAR, &["--target", "a:1"], "--allow-anyone"),
        (&FAR, &["--allow-anyone"], "--target"),
        (&FAR, &["--allow-anyone", "--target", "a:1", "--listen", "127.0.0.1:0"], "--reverse"),
        (&FAR, &["--allow-anyone", "--target", "a:1", "--reverse"], "--listen"),
        (&FAR, &["--allow-anyone", "--target", "a:1", "--token", TOKEN], "--allow-anyone"),
        (&FAR, &["--allow-anyone", "--target", "22"], "a host and a port"),
        (&NEAR, &[], "--listen"),
        (&NEAR, &["--listen", "127.0.0.1:0", "--target", "a:1"], "--reverse"),
        (&NEAR, &["--reverse", "--listen", "127.0.0.1:0"], "--target"),
        (&NEAR, &["--listen", "127.0.0.1:0", "--allow-anyone"], "--serve"),
    ];
    for (end, args, expected) in cases {
        let (code, stdout, stderr) = run(&[end, args].concat()).await;
        assert_eq!((code, &*stdout), (2, ""), "{args:?}");
        let first = stderr.lines().next().unwrap();
        assert!(stderr.starts_with("error: ") && stderr.contains(expected), "{first}");
        assert!(stderr.contains("'--help'"), "{stderr}");
        assert!(!stderr.contains(TOKEN), "{stderr}");
    }
}

#[tokio::test]
async fn a_token_that_no_header_can_carry_is_not_repeated() {
    let args = ["ping", "ws://127.0.0.1:1/", "--token", "s3cret\nT0ken"];
    let (code, stdout, stderr) = run(&args).await;
    assert_eq!((code, &*stdout), (1, ""));
    assert!(stderr.contains("ASCII") && !stderr.contains("s3cret"), "{stderr}");
}

#[tokio::test]
async fn help_shows_the_tunnels_beside_their_likes_in_ssh() {
    let (code, stdout, _) = run(&["forward", "--help"]).await;
    assert_eq!(code, 0);
    for expected in ["ssh -N -L", "ssh -N -R", "--allow-anyone", "WSMUX_TOKEN"] {
        assert!(stdout.contains(expected), "{expected}");
    }
}
