//! Long bodies pass through a follower piece by piece, and wait where the other side does.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use http_body::Frame;
use http_body_util::BodyExt as _;
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::timeout;

use super::world::*;

const PIECE: usize = 64 * 1024;
/// What the buffers of one connection may hold, those of the kernel included.
const BUFFERED_MAX: u64 = 24 * 1024 * 1024;

/// A body that tells how much of it was asked for, and when it is dropped.
struct Generator {
    left: u64,
    produced: Arc<watch::Sender<u64>>,
    _dropped: oneshot::Sender<()>,
}

impl Generator {
    fn new(bytes: u64) -> (Self, watch::Receiver<u64>, oneshot::Receiver<()>) {
        let (dropped, was_dropped) = oneshot::channel();
        let produced = Arc::new(watch::Sender::new(0));
        let seen = produced.subscribe();
        (Generator { left: bytes, produced, _dropped: dropped }, seen, was_dropped)
    }
}

impl http_body::Body for Generator {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let bytes = self.left.min(PIECE as u64);
        self.left -= bytes;
        self.produced.send_modify(|produced| *produced += bytes);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![7; bytes as usize])))))
    }
}

/// Waits until no more is asked for, and gives how much was.
async fn stalled(mut produced: watch::Receiver<u64>) -> u64 {
    while timeout(Duration::from_millis(500), produced.changed()).await.is_ok() {}
    *produced.borrow()
}

#[tokio::test]
async fn ten_mebibytes_cross_both_ways_unchanged() {
    let leader = TestNode::leader(2);
    let echo = Router::new().fallback(|request: Request| async { request.into_body() }).layer(leader.layer());
    let app = TestNode::follower_of(2, &serve(echo).await).unreached();
    let content: Vec<u8> = (0..10 * 1024 * 1024u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let pieces = content.chunks(10_000).map(<[u8]>::to_vec).collect();
    let response = ask(&app, post(Body::from_stream(stream(pieces)))).await;
    assert_eq!(response.status(), 200);
    assert!(response.into_body().collect().await.unwrap().to_bytes() == content);
    // With a length stated, too.
    let response = ask(
        &app,
        Request::post("/").header("content-length", content.len()).body(Body::from(content.clone())).unwrap(),
    )
    .await;
    assert!(response.into_body().collect().await.unwrap().to_bytes() == content);
}

#[tokio::test]
async fn a_leader_that_does_not_read_is_waited_for() {
    let total = 3 * BUFFERED_MAX;
    let go_on = Arc::new(Notify::new());
    let gate = Arc::clone(&go_on);
    let slow = Router::new().fallback(move |request: Request| async move {
        gate.notified().await;
        let mut body = request.into_body();
        let mut bytes = 0;
        while let Some(frame) = body.frame().await {
            bytes += frame.unwrap().into_data().unwrap().len();
        }
        bytes.to_string()
    });
    let app = TestNode::follower_of(2, &serve(slow.layer(TestNode::leader(2).layer())).await).unreached();
    let (body, produced, _) = Generator::new(total);
    let (response, ahead) = tokio::join!(ask(&app, post(Body::new(body))), async {
        let ahead = stalled(produced).await;
        go_on.notify_one();
        ahead
    });
    assert!(ahead > 0 && ahead < BUFFERED_MAX, "{ahead} bytes were taken from the client ahead of the leader");
    assert_eq!(text(response).await, total.to_string());
}

#[tokio::test]
async fn a_client_that_does_not_read_is_waited_for_and_its_end_is_the_end() {
    let (body, produced, was_dropped) = Generator::new(u64::MAX);
    let endless = Arc::new(std::sync::Mutex::new(Some(body)));
    let app = Router::new().fallback(move || async move { Body::new(endless.lock().unwrap().take().unwrap()) });
    let app = TestNode::follower_of(2, &serve(app.layer(TestNode::leader(2).layer())).await).unreached();
    let mut response = ask(&app, Request::get("/").body(Body::empty()).unwrap()).await;
    assert!(response.body_mut().frame().await.unwrap().is_ok());
    let ahead = stalled(produced).await;
    assert!(ahead < BUFFERED_MAX, "{ahead} bytes were taken from the leader ahead of the client");
    drop(response);
    // The handler's body is dropped because its connection is.
    assert!(was_dropped.await.is_err());
}

#[tokio::test]
async fn a_long_upload_may_take_longer_than_an_answer() {
    let read = Arc::new(AtomicU64::new(0));
    let leader =
        Router::new().fallback(|body: Bytes| async move { body.len().to_string() }).layer(TestNode::leader(2).layer());
    let node = TestNode::follower_of(2, &serve(leader).await);
    let layer = node.layer().answer_timeout(Duration::from_millis(200));
    let app = Router::new().fallback(|| async { "here" }).layer(layer);
    // Pieces that come slower each than the leader may take for its answer: the client is waited for, not the leader.
    let pieces = (0..3).map(|_| vec![1u8; 10]).collect::<Vec<_>>();
    let counted = Arc::clone(&read);
    let body = Body::from_stream(slow_stream(pieces, Duration::from_millis(300), counted));
    assert_eq!(text(ask(&app, post(body)).await).await, "30");
    assert_eq!(read.load(Ordering::SeqCst), 3);
}
