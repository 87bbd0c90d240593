//! Bodies on their way: streamed piece by piece, each waiting for the other side to take the last one, while the clock of patience runs.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::{Instant, sleep_until};

use super::client::Connection;

/// The request body, as much of it as is needed to ask another leader once one has refused.
pub(super) enum Payload {
    /// All of it, in memory: can be sent again.
    Whole(Bytes),
    /// Longer, or of unknown length: can be sent once.
    Stream(Body),
    /// It was streamed to somebody.
    Spent,
}

/// Why there is no payload.
pub(super) enum PayloadError {
    /// The client broke off, or sent what cannot be read.
    Broken(String),
    /// The client was too slow.
    TimedOut,
}

impl Payload {
    /// Takes in what is short; leaves the rest to be streamed.
    pub async fn of(body: Body) -> Result<Self, PayloadError> {
        if body.is_end_stream() {
            return Ok(Payload::Whole(Bytes::new()));
        }
        if body.size_hint().exact().is_none_or(|bytes| bytes > PAYLOAD_WHOLE_BYTES_MAX) {
            return Ok(Payload::Stream(body));
        }
        let whole = axum::body::to_bytes(body, PAYLOAD_WHOLE_BYTES_MAX as usize);
        match tokio::time::timeout(CLIENT_TIMEOUT, whole).await {
            Ok(Ok(bytes)) => Ok(Payload::Whole(bytes)),
            Ok(Err(error)) => Err(PayloadError::Broken(error.to_string())),
            Err(_) => Err(PayloadError::TimedOut),
        }
    }

    /// The body to send now; a stream is spent by it.
    pub fn take(&mut self, patience: &Arc<Patience>) -> Body {
        match std::mem::replace(self, Payload::Spent) {
            Payload::Whole(bytes) => {
                *self = Payload::Whole(bytes.clone());
                Body::from(bytes)
            }
            Payload::Stream(body) => Body::new(Upload { body, patience: Arc::clone(patience) }),
            Payload::Spent => Body::empty(),
        }
    }

    /// Nobody has seen the body that was taken.
    pub fn give_back(&mut self, body: Body) {
        if self.is_spent() {
            *self = Payload::Stream(body);
        }
    }

    /// Whether there is nothing left to send.
    pub fn is_spent(&self) -> bool {
        matches!(self, Payload::Spent)
    }

    /// Whether it can be sent once more.
    pub fn is_whole(&self) -> bool {
        matches!(self, Payload::Whole(_))
    }

    /// The body as the handler on this node gets it.
    pub fn into_body(self) -> Body {
        match self {
            Payload::Whole(bytes) => Body::from(bytes),
            Payload::Stream(body) => body,
            Payload::Spent => Body::empty(),
        }
    }
}

/// How long a leader may be silent: counted from the last piece of the request that it took. While the next piece has to come from the client, it
/// is the client that is waited for.
pub(super) struct Patience {
    answer_timeout: Duration,
    state: Mutex<Wait>,
    resumed: Notify,
}

#[derive(Clone, Copy)]
struct Wait {
    since: Instant,
    for_client: bool,
}

impl Patience {
    /// Begins now.
    pub fn new(answer_timeout: Duration) -> Self {
        let wait = Wait { since: Instant::now(), for_client: false };
        Patience { answer_timeout, state: Mutex::new(wait), resumed: Notify::new() }
    }

    /// Waits until it is exhausted.
    pub async fn ends(&self) {
        loop {
            let deadline = self.deadline();
            if deadline <= Instant::now() {
                return;
            }
            tokio::select! {
                () = sleep_until(deadline) => {}
                // The deadline has come nearer.
                () = self.resumed.notified() => {}
            }
        }
    }

    /// Whether it is exhausted.
    pub fn is_over(&self) -> bool {
        self.deadline() <= Instant::now()
    }

    fn deadline(&self) -> Instant {
        let wait = *self.state.lock().unwrap_or_else(PoisonError::into_inner);
        wait.since + if wait.for_client { CLIENT_TIMEOUT } else { self.answer_timeout }
    }

    fn note(&self, for_client: bool) {
        let mut wait = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if for_client && wait.for_client {
            return;
        }
        let resumes = wait.for_client;
        *wait = Wait { since: Instant::now(), for_client };
        drop(wait);
        if resumes {
            self.resumed.notify_one();
        }
    }
}

/// A request body on its way to the leader.
struct Upload {
    body: Body,
    patience: Arc<Patience>,
}

impl http_body::Body for Upload {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        self.patience.note(polled.is_pending());
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The leader's answer on its way to the client. It holds the connection until the last piece; if it breaks off, so does the client's.
pub(super) struct Download {
    incoming: Incoming,
    held: Option<(Connection, OwnedSemaphorePermit)>,
}

impl Download {
    pub fn new(incoming: Incoming, connection: Connection, slot: OwnedSemaphorePermit) -> Self {
        let mut download = Download { incoming, held: Some((connection, slot)) };
        if download.incoming.is_end_stream() {
            download.release();
        }
        download
    }

    fn release(&mut self) {
        if let Some((connection, _)) = self.held.take() {
            connection.give_back();
        }
    }
}

impl http_body::Body for Download {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.incoming).poll_frame(cx);
        match &polled {
            Poll::Pending => {}
            Poll::Ready(Some(Err(_))) => self.held = None,
            // A body of known length is not asked again after its last piece.
            Poll::Ready(Some(Ok(_))) if !self.incoming.is_end_stream() => {}
            Poll::Ready(_) => self.release(),
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// Up to here a request body is kept, so that a request that a node refused can go to the next leader. Most commands are far shorter; with
/// the limit on requests under way it bounds the memory.
pub(super) const PAYLOAD_WHOLE_BYTES_MAX: u64 = 64 * 1024;
/// How long a client may leave us waiting for the next piece of its request: longer than any network hiccup, shorter than for ever.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(60);
