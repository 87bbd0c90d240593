//! Nodes whose standing is whatever the test says, with real HTTP in front of them.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use futures_core::Stream;
use http::Request;
use http_body_util::BodyExt as _;
use slimcluster_core::{ClusterUuid, NodeId, Term};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::Sleep;
use tower::ServiceExt as _;

use super::super::delegate::DelegateToLeader;
use super::super::standing::{KnownLeader, Standing, Standpoint};

pub const CLUSTER: ClusterUuid = ClusterUuid(0xc0ffee);
pub const TERM: Term = Term(7);

/// A node as its layer sees it.
#[derive(Clone)]
pub struct TestNode {
    standing: Arc<Mutex<Standing>>,
    changes: Arc<watch::Sender<u64>>,
    /// How many requests its handlers have seen.
    pub handled: Arc<AtomicUsize>,
}

impl Standpoint for TestNode {
    fn standing(&self) -> Standing {
        self.standing.lock().unwrap().clone()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

impl TestNode {
    /// A node that knows no leader.
    pub fn new(id: u128) -> Self {
        let standing = Standing { cluster: Some(CLUSTER), own: NodeId(id), leader: None };
        TestNode {
            standing: Arc::new(Mutex::new(standing)),
            changes: Arc::new(watch::Sender::new(0)),
            handled: Arc::default(),
        }
    }

    /// A node that leads in [`TERM`].
    pub fn leader(id: u128) -> Self {
        let node = TestNode::new(id);
        node.led_by(id, TERM, None);
        node
    }

    /// A node that takes `id`, reached at `http`, for the leader in [`TERM`].
    pub fn follower_of(id: u128, http: &str) -> Self {
        let node = TestNode::new(1);
        node.led_by(id, TERM, Some(http));
        node
    }

    /// From now on it knows this leader.
    pub fn led_by(&self, id: u128, term: Term, http: Option<&str>) {
        let mut standing = self.standing.lock().unwrap();
        let is_self = standing.own == NodeId(id);
        standing.leader = Some(KnownLeader { id: NodeId(id), term, http: http.map(str::to_owned), is_self });
        drop(standing);
        self.changes.send_modify(|count| *count += 1);
    }

    /// A layer over this node that selects everything and does not wait for long.
    pub fn layer(&self) -> DelegateToLeader {
        DelegateToLeader::new(Arc::new(self.clone()), |_| true).leader_wait(Duration::from_millis(300))
    }

    /// A router whose every request ends in `handler`, behind the layer.
    pub fn app(&self, handler: impl Fn(Request<Body>) -> Response + Clone + Send + Sync + 'static) -> Router {
        let handled = Arc::clone(&self.handled);
        let handler = move |request: Request<Body>| {
            handled.fetch_add(1, Ordering::SeqCst);
            let response = handler(request);
            async move { response }
        };
        Router::new().fallback(handler).layer(self.layer())
    }

    /// A router that must not be reached.
    pub fn unreached(&self) -> Router {
        self.app(|_| Response::new(Body::from("handled on the wrong node")))
    }

    pub fn handled(&self) -> usize {
        self.handled.load(Ordering::SeqCst)
    }
}

/// Serves `app` until the test ends; gives its authority.
pub async fn serve(app: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { axum::serve(listener, app).await });
    authority
}

/// An authority where nobody listens.
pub async fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string()
}

/// Hands the request to the router, as its server would.
pub async fn ask(app: &Router, request: Request<Body>) -> Response {
    app.clone().oneshot(request).await.unwrap()
}

pub fn post(body: impl Into<Body>) -> Request<Body> {
    Request::post("/counter/increment").body(body.into()).unwrap()
}

pub async fn text(response: Response) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

/// Status and, for what this crate answers by itself, its two telling headers.
pub fn verdict(response: &Response) -> (u16, bool, Option<&str>) {
    let outcome = response.headers().get("slimcluster-outcome").map(|value| value.to_str().unwrap());
    (response.status().as_u16(), response.headers().contains_key("retry-after"), outcome)
}

pub const NOT_APPLIED: (u16, bool, Option<&str>) = (503, true, None);
pub const UNKNOWN: (u16, bool, Option<&str>) = (504, false, Some("unknown"));

/// A stream of these pieces, of unknown length.
pub fn stream(pieces: Vec<Vec<u8>>) -> Pieces {
    Pieces { pieces: pieces.into(), pause: None, sleep: None, given: Arc::default() }
}

/// The same, with a pause before each piece. Counts the pieces given.
pub fn slow_stream(pieces: Vec<Vec<u8>>, pause: Duration, given: Arc<AtomicU64>) -> Pieces {
    Pieces { pieces: pieces.into(), pause: Some(pause), sleep: None, given }
}

pub struct Pieces {
    pieces: VecDeque<Vec<u8>>,
    pause: Option<Duration>,
    sleep: Option<Pin<Box<Sleep>>>,
    given: Arc<AtomicU64>,
}

impl Stream for Pieces {
    type Item = Result<Vec<u8>, std::io::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(pause) = self.pause
            && !self.pieces.is_empty()
        {
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(pause)));
            ready!(sleep.as_mut().poll(cx));
            self.sleep = None;
        }
        let piece = self.pieces.pop_front();
        self.given.fetch_add(u64::from(piece.is_some()), Ordering::SeqCst);
        Poll::Ready(piece.map(Ok))
    }
}
