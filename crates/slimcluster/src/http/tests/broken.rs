//! Leaders that are not there, or go away: what is certain, and what is not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::IntoResponse as _;
use slimcluster_core::NodeId;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::super::headers;
use super::world::*;

/// A server that does to each connection, by its number, what it is told, after it has read the head of a request.
async fn misbehaving<F>(act: impl Fn(usize, TcpStream) -> F + Send + 'static) -> String
where
    F: Future<Output = ()> + Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        for number in 0.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.windows(4).any(|window| window == b"\r\n\r\n") {
                let mut byte = [0];
                if stream.read(&mut byte).await.unwrap_or(0) == 0 {
                    break;
                }
                head.push(byte[0]);
            }
            act(number, stream).await;
        }
    });
    authority
}

fn good_answer() -> String {
    let echo = headers::echo(NodeId(2), TERM);
    format!("HTTP/1.1 200 OK\r\nslimcluster-from: {}\r\ncontent-length: 2\r\n\r\nok", echo.to_str().unwrap())
}

#[tokio::test]
async fn who_cannot_be_reached_has_certainly_not_applied_it() {
    let node = TestNode::follower_of(2, &nowhere().await);
    for body in [Body::from("abc"), Body::from_stream(stream(vec![vec![1; 100_000]]))] {
        let response = ask(&node.unreached(), post(body)).await;
        assert_eq!(verdict(&response), NOT_APPLIED);
    }
}

#[tokio::test]
async fn an_untouched_body_goes_to_the_next_leader_whatever_its_length() {
    let leader = TestNode::leader(3);
    let app =
        Router::new().fallback(|body: axum::body::Bytes| async move { body.len().to_string() }).layer(leader.layer());
    let leader_at = serve(app).await;
    let node = TestNode::follower_of(2, &nowhere().await);
    let app = Router::new().fallback(|| async { "here" }).layer(node.layer().leader_wait(Duration::from_secs(60)));
    let long = post(Body::from_stream(stream(vec![vec![1; 60_000]; 10])));
    let (response, ()) = tokio::join!(ask(&app, long), async { node.led_by(3, TERM, Some(&leader_at)) });
    assert_eq!(text(response).await, "600000");
}

#[tokio::test]
async fn a_connection_that_breaks_leaves_the_outcome_unknown() {
    let closes = misbehaving(|_, stream| async move { drop(stream) }).await;
    let half = misbehaving(|_, mut stream| async move { stream.write_all(b"HTTP/1.1 20").await.unwrap() }).await;
    let garbage =
        misbehaving(|_, mut stream| async move { stream.write_all(b"\0\0\0\0\r\n\r\n").await.unwrap() }).await;
    for authority in [closes, half, garbage] {
        let node = TestNode::follower_of(2, &authority);
        let response = ask(&node.unreached(), post("abc")).await;
        assert_eq!(verdict(&response), UNKNOWN);
        assert_eq!(node.handled(), 0);
    }
}

#[tokio::test]
async fn silence_leaves_the_outcome_unknown() {
    let silent = misbehaving(|_, stream| async move {
        // Kept open until the test ends.
        std::mem::forget(stream);
    });
    let node = TestNode::follower_of(2, &silent.await);
    let app = Router::new().fallback(|| async { "here" }).layer(node.layer().answer_timeout(Duration::from_millis(50)));
    for request in [post("abc"), Request::get("/").body(Body::empty()).unwrap()] {
        let response = ask(&app, request).await;
        assert_eq!(verdict(&response), UNKNOWN);
        assert!(text(response).await.contains("in time"));
    }
}

#[tokio::test]
async fn what_only_reads_is_repeated_once() {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let flaky = misbehaving(move |number, mut stream| {
        counted.fetch_add(1, Ordering::SeqCst);
        async move {
            if number == 1 {
                stream.write_all(good_answer().as_bytes()).await.unwrap();
            }
        }
    });
    let node = TestNode::follower_of(2, &flaky.await);
    let app = node.unreached();
    let get = || Request::get("/").body(Body::empty()).unwrap();
    assert_eq!(text(ask(&app, get()).await).await, "ok");
    assert_eq!(count.load(Ordering::SeqCst), 2);
    // That connection is closed now, and so are the next two.
    assert_eq!(verdict(&ask(&app, get()).await), UNKNOWN);
    assert_eq!(count.load(Ordering::SeqCst), 4);
    assert_eq!(verdict(&ask(&app, post("")).await), UNKNOWN);
    assert_eq!(count.load(Ordering::SeqCst), 5, "what may change something is not");
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_meanwhile_is_no_loss() {
    let (closed, was_closed) = oneshot::channel();
    let closed = std::sync::Mutex::new(Some(closed));
    let short_lived = misbehaving(move |number, mut stream| {
        let closed = if number == 0 { closed.lock().unwrap().take() } else { None };
        async move {
            stream.write_all(good_answer().as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            // Until the other side has closed, too.
            let _ = stream.read(&mut [0]).await;
            if let Some(closed) = closed {
                let _ = closed.send(());
            }
        }
    });
    let node = TestNode::follower_of(2, &short_lived.await);
    let app = node.unreached();
    assert_eq!(text(ask(&app, post("")).await).await, "ok");
    was_closed.await.unwrap();
    assert_eq!(text(ask(&app, post("")).await).await, "ok");
}

#[tokio::test]
async fn an_answer_that_breaks_off_does_not_look_complete() {
    let breaks = misbehaving(|_, mut stream| async move {
        let echo = headers::echo(NodeId(2), TERM);
        let head =
            format!("HTTP/1.1 200 OK\r\nslimcluster-from: {}\r\ncontent-length: 9\r\n\r\nhalf", echo.to_str().unwrap());
        stream.write_all(head.as_bytes()).await.unwrap();
    });
    let node = TestNode::follower_of(2, &breaks.await);
    let response = ask(&node.unreached(), post("")).await;
    assert_eq!(response.status(), 200);
    assert!(axum::body::to_bytes(response.into_body(), 100).await.is_err());
}

#[tokio::test]
async fn a_request_that_breaks_off_is_the_clients_fault() {
    let leader = TestNode::leader(2);
    let node = TestNode::follower_of(2, &serve(leader.app(|_| "done".into_response())).await);
    let app = serve(node.unreached()).await;
    let mut stream = TcpStream::connect(app).await.unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nhalf").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP/1.1 200"));
    assert_eq!((node.handled(), leader.handled()), (0, 0));
}
