//! The binary against a server that answers as a node does, and against one that does not.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Command, Output};

/// Serves one connection with `answer`; returns the URL.
fn serve_once(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut request = [0; 1024];
        let _ = stream.read(&mut request).expect("a request");
        stream.write_all(answer.as_bytes()).expect("an answer");
    });
    url
}

fn slimcluster(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_slimcluster")).args(arguments).output().expect("the binary starts")
}

const ANSWER: &str = concat!(
    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n",
    r#"{"cluster_id":"c","node":{"id":"0a","name":"n1"},"role":"leader","term":1,"leader":"n1","commit":3,"applied":3,"#,
    r#""waiting":null,"members":[{"id":"0a","name":"n1","address":"127.0.0.1:1","http":null,"state":"alive"}]}"#,
);

#[test]
fn status_and_members_of_a_node() {
    let status = slimcluster(&["status", "--url", &serve_once(ANSWER)]);
    assert!(status.status.success());
    assert!(String::from_utf8_lossy(&status.stdout).starts_with("c · 1/1 alive · leader n1 (term 1) · commit 3"));
    let members = slimcluster(&["members", "--url", &serve_once(ANSWER)]);
    assert!(members.status.success());
    assert_eq!(String::from_utf8_lossy(&members.stdout).lines().count(), 2);
}

#[test]
fn what_goes_wrong_is_one_sentence_with_the_address() {
    for answer in ["HTTP/1.1 404 Not Found\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n{}", "SSH-2.0\r\n"] {
        let url = serve_once(answer);
        let output = slimcluster(&["status", "--url", &url]);
        let reason = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{reason}");
        assert!(reason.contains(&url) && reason.lines().count() == 1, "{reason}");
    }
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
    let output = slimcluster(&["status", "--url", &format!("http://127.0.0.1:{port}")]);
    let reason = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(reason.contains("is the node running") && reason.lines().count() == 1, "{reason}");
    assert_eq!(slimcluster(&["status", "--url", "https://n1"]).status.code(), Some(2));
}
