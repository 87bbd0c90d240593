//! Connections to the leader's HTTP interface, HTTP/1.1, kept for the next request.
//!
//! The one thing that must not be wrong here is the difference between *not sent* and *unknown*. A request was not sent if no connection could be made,
//! or if the connection was found closed before the first byte of the request was written: then hyper hands the request itself back, untouched. Whatever
//! else goes wrong, the leader may have seen it. Nothing is repeated here, no redirect is followed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::body::Patience;

/// Sends requests to one authority at a time: there is one leader.
#[derive(Default)]
pub(super) struct Client {
    pool: Arc<Mutex<Pool>>,
}

/// Connections that wait for a request, all to the same authority, the longest idle first.
#[derive(Default)]
struct Pool {
    authority: Arc<str>,
    idle: Vec<Idle>,
}

struct Idle {
    sender: SendRequest<Body>,
    since: Instant,
}

/// A connection in use.
pub(super) struct Connection {
    sender: SendRequest<Body>,
    authority: Arc<str>,
    pool: Arc<Mutex<Pool>>,
}

/// Why there is no answer.
pub(super) enum SendError {
    /// Not a byte of the request has left; here it is.
    NotSent { request: Box<Request<Body>>, reason: String },
    /// It may have arrived.
    Unknown { reason: String },
}

impl Client {
    /// Sends `request` to `authority` and waits for the head of the answer as long as `patience` allows. The connection carries the rest of the
    /// answer; give it back when that has arrived.
    pub async fn send(
        &self,
        authority: &str,
        mut request: Request<Body>,
        patience: &Patience,
    ) -> Result<(Response<Incoming>, Connection), SendError> {
        // Ends: each turn takes a connection out of the pool, and a fresh one is the last.
        loop {
            let (mut connection, reused) = match self.take_idle(authority) {
                Some(connection) => (connection, true),
                None => match self.connect(authority).await {
                    Ok(connection) => (connection, false),
                    Err(reason) => return Err(SendError::NotSent { request: Box::new(request), reason }),
                },
            };
            let answer = connection.sender.try_send_request(request);
            let mut error = tokio::select! {
                biased;
                answer = answer => match answer {
                    Ok(response) => return Ok((response, connection)),
                    Err(error) => error,
                },
                () = patience.ends() => {
                    let reason = format!("{authority} has not answered in time");
                    return Err(SendError::Unknown { reason });
                }
            };
            request = match error.take_message() {
                Some(request) if reused => request,
                Some(request) => {
                    let reason = describe(authority, error.into_error());
                    return Err(SendError::NotSent { request: Box::new(request), reason });
                }
                None => return Err(SendError::Unknown { reason: describe(authority, error.into_error()) }),
            };
        }
    }

    /// The connection that was used last, if it is still good.
    fn take_idle(&self, authority: &str) -> Option<Connection> {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        if *pool.authority != *authority {
            return None;
        }
        pool.idle.retain(|idle| !idle.sender.is_closed());
        // One that is about to become ready is left for the next request: waiting for it could take longer than a new one.
        let position =
            pool.idle.iter().rposition(|idle| idle.sender.is_ready() && idle.since.elapsed() < IDLE_TIMEOUT)?;
        let sender = pool.idle.remove(position).sender;
        Some(Connection { sender, authority: Arc::clone(&pool.authority), pool: Arc::clone(&self.pool) })
    }

    async fn connect(&self, authority: &str) -> Result<Connection, String> {
        let stream = match timeout(CONNECT_TIMEOUT, TcpStream::connect(authority)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(describe(authority, error)),
            Err(_) => return Err(format!("{authority} cannot be reached")),
        };
        // Options of comfort: without them requests are slower, or a vanished leader is noticed later.
        let _ = stream.set_nodelay(true);
        let _ = SockRef::from(&stream).set_tcp_keepalive(
            &TcpKeepalive::new()
                .with_time(KEEPALIVE_TIME)
                .with_interval(KEEPALIVE_INTERVAL)
                .with_retries(KEEPALIVE_RETRIES),
        );
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(|error| describe(authority, error))?;
        tokio::spawn(async move {
            // Its errors reach whoever waits for an answer.
            let _ = connection.await;
        });
        Ok(Connection { sender, authority: authority.into(), pool: Arc::clone(&self.pool) })
    }
}

impl Connection {
    /// The answer has arrived whole: the next request may use the connection.
    pub fn give_back(self) {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        if pool.authority != self.authority {
            // There was a change of leader. Requests that still came back from the old one may go to and fro a few times.
            pool.idle.clear();
            pool.authority = self.authority;
        }
        let stale = pool.idle.iter().take_while(|idle| idle.since.elapsed() >= IDLE_TIMEOUT).count();
        pool.idle.drain(..stale);
        if pool.idle.len() < IDLE_MAX && !self.sender.is_closed() {
            pool.idle.push(Idle { sender: self.sender, since: Instant::now() });
        }
    }
}

fn describe(authority: &str, error: impl std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{authority}: {error}: {source}"),
        None => format!("{authority}: {error}"),
    }
}

/// A leader of the same network answers a connection within a millisecond; one that does not is dead, and the next is being elected.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// As many clients as a busy follower serves at a time; more than these reconnect.
const IDLE_MAX: usize = 256;
/// Well below the time after which servers close idle connections: a request that crosses such a close has an unknown outcome.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);
/// A leader that vanished while its answer was on its way is noticed after 10 + 3 * 5 seconds.
const KEEPALIVE_TIME: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 3;
