//! The layer that sends selected requests to the leader (rule 38).

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, OriginalUri, Request};
use axum::response::{IntoResponse, Response};
use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode, Uri};
use slimcluster_core::ClusterUuid;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};
use tower::{Layer, Service};

use super::answers;
use super::body::{Download, Patience, Payload, PayloadError};
use super::client::{Client, SendError};
use super::headers;
use super::standing::{KnownLeader, Standpoint, wait_for_leader};

/// A tower layer that has selected requests handled on the leader, whichever node gets them. Made by
/// [`Cluster::delegate_to_leader`](crate::Cluster::delegate_to_leader).
///
/// The request goes to the leader's advertised HTTP address in one hop, its body and that of the answer streamed. What the client gets when there is no
/// answer of the leader's handler says what became of the request:
///
/// | status | meaning |
/// |---|---|
/// | 503 with `Retry-After` | certainly not handled: no leader was found, it could not be reached, or it refused |
/// | 504 with `slimcluster-outcome: unknown` | the leader may have handled it, but its answer did not come |
/// | 502 with `slimcluster-outcome: unknown` | somebody answered who is not the leader that was asked |
/// | 501 | a WebSocket or a tunnel: connect to the leader itself. Other offers to upgrade are ignored, as HTTP allows |
///
/// A request that the asked node refused goes to the next leader when its body is at most 64 KiB; a longer one is streamed once. GET and HEAD
/// are repeated once when the connection breaks. Trailers are not carried.
///
/// Put the layer outside of any layer that consumes the body, and on every node alike.
#[derive(Clone)]
pub struct DelegateToLeader {
    shared: Arc<Shared>,
    leader_wait: Duration,
    answer_timeout: Duration,
}

/// What all requests of a layer have in common.
struct Shared {
    standpoint: Arc<dyn Standpoint>,
    selects: Box<dyn Fn(&Request) -> bool + Send + Sync>,
    client: Client,
    slots: Arc<Semaphore>,
}

impl DelegateToLeader {
    pub(super) fn new(
        standpoint: Arc<dyn Standpoint>,
        selects: impl Fn(&Request) -> bool + Send + Sync + 'static,
    ) -> Self {
        let shared = Shared {
            standpoint,
            selects: Box::new(selects),
            client: Client::default(),
            slots: Arc::new(Semaphore::new(DELEGATED_MAX)),
        };
        DelegateToLeader { shared: Arc::new(shared), leader_wait: LEADER_WAIT, answer_timeout: ANSWER_TIMEOUT }
    }

    /// How long a request waits for a leader to be known and to accept it. 3 s unless given: several elections.
    #[must_use]
    pub fn leader_wait(mut self, wait: Duration) -> Self {
        self.leader_wait = wait;
        self
    }

    /// How long after it arrived (a long one: after the leader took its last piece) a request waits for the head of the leader's answer. 5 s unless
    /// given.
    #[must_use]
    pub fn answer_timeout(mut self, timeout: Duration) -> Self {
        self.answer_timeout = timeout;
        self
    }
}

impl fmt::Debug for DelegateToLeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DelegateToLeader")
            .field("leader_wait", &self.leader_wait)
            .field("answer_timeout", &self.answer_timeout)
            .finish_non_exhaustive()
    }
}

impl<S> Layer<S> for DelegateToLeader {
    type Service = DelegateToLeaderService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        DelegateToLeaderService { layer: self.clone(), inner }
    }
}

/// A service behind [`DelegateToLeader`].
#[derive(Clone, Debug)]
pub struct DelegateToLeaderService<S> {
    layer: DelegateToLeader,
    inner: S,
}

impl<S> Service<Request> for DelegateToLeaderService<S>
where
    S: Service<Request> + Clone + Send + 'static,
    S::Response: IntoResponse,
    S::Future: Send,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let layer = self.layer.clone();
        // The clone may not be ready; the one that was polled is.
        let clone = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, clone);
        Box::pin(layer.handle(request, inner))
    }
}

impl DelegateToLeader {
    async fn handle<S>(self, mut request: Request, inner: S) -> Result<Response, S::Error>
    where
        S: Service<Request>,
        S::Response: IntoResponse,
    {
        if request.headers().contains_key(&headers::TO) {
            // Selected or not: a delegated request is never delegated again, and never handled by anyone but whom it names.
            return match self.echo_if_addressed(request.headers()) {
                Some(echo) => {
                    headers::strip_own(request.headers_mut());
                    here(request, inner, Some(echo)).await
                }
                None => Ok(answers::misdirected()),
            };
        }
        headers::strip_own(request.headers_mut());
        if !(self.shared.selects)(&request) {
            return here(request, inner, None).await;
        }
        match self.route(request).await {
            Routed::Here(request) => here(request, inner, None).await,
            Routed::Answered(response) => Ok(response),
        }
    }

    /// This node's echo, if it is the one that the request names.
    fn echo_if_addressed(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let addressee = headers.get(&headers::TO)?;
        let once = headers::is_exactly(headers, &headers::TO, addressee);
        once.then(|| self.shared.standpoint.standing().echo_if_addressed(addressee)).flatten()
    }

    /// Finds the leader and has it answer, or says why not.
    async fn route(&self, request: Request) -> Routed {
        if self.shared.standpoint.standing().is_led_here() {
            return Routed::Here(request);
        }
        if request.method() == Method::CONNECT || headers::wants_web_socket(request.headers()) {
            return Routed::Answered(answers::not_delegable());
        }
        let Ok(slot) = Arc::clone(&self.shared.slots).try_acquire_owned() else {
            return Routed::Answered(answers::not_applied(
                "not applied: too many requests are on their way to the leader",
            ));
        };
        let (parts, body) = request.into_parts();
        let payload = match Payload::of(body).await {
            Ok(payload) => payload,
            Err(PayloadError::Broken(reason)) => return Routed::Answered(answers::broken_request(reason)),
            Err(PayloadError::TimedOut) => return Routed::Answered(answers::slow_request()),
        };
        let patience = Arc::new(Patience::new(self.answer_timeout));
        Errand { layer: self, parts, payload, patience, slot }.run().await
    }
}

/// Where a request went.
enum Routed {
    /// This node leads: the handler gets it.
    Here(Request),
    /// Here is what the client gets.
    Answered(Response),
}

/// One request on its way to the leader.
struct Errand<'a> {
    layer: &'a DelegateToLeader,
    parts: Parts,
    payload: Payload,
    patience: Arc<Patience>,
    slot: OwnedSemaphorePermit,
}

/// How one attempt ended without an answer.
enum Failure {
    /// Certainly not handled.
    NotAccepted(String),
    /// Handled, or not.
    Unknown(String),
    /// Somebody else answered.
    Stranger,
}

impl Errand<'_> {
    async fn run(mut self) -> Routed {
        let standpoint = &*self.layer.shared.standpoint;
        let deadline = Instant::now() + self.layer.leader_wait;
        let mut refusal = "no leader is known".to_owned();
        let mut unknown: Option<String> = None;
        loop {
            let standing = wait_for_leader(standpoint, deadline).await;
            if let (Some(cluster), Some(leader)) = (standing.cluster, standing.leader) {
                if leader.is_self {
                    return Routed::Here(Request::from_parts(self.parts, self.payload.into_body()));
                }
                if let Some(authority) = leader.http.clone() {
                    match self.ask(cluster, &leader, &authority).await {
                        Ok(answer) => return Routed::Answered(answer(self.slot)),
                        Err(Failure::Stranger) => return Routed::Answered(answers::not_from_the_leader(&authority)),
                        Err(Failure::NotAccepted(reason)) => refusal = reason,
                        Err(Failure::Unknown(reason)) => {
                            let repeat = self.parts.method.is_safe() && self.payload.is_whole();
                            if !repeat || unknown.is_some() || self.patience.is_over() {
                                let sentence = format!("the outcome is unknown: {reason}");
                                return Routed::Answered(answers::unknown(sentence));
                            }
                            unknown = Some(reason);
                        }
                    }
                } else {
                    refusal = format!("the leader, node {}, advertises no HTTP address", leader.id);
                }
            }
            if self.payload.is_spent() || Instant::now() >= deadline {
                return Routed::Answered(match unknown {
                    Some(reason) => answers::unknown(format!("the outcome is unknown: {reason}")),
                    None => answers::not_applied(format!("not applied: {refusal}")),
                });
            }
            // The node that refused will soon be known not to lead, or soon know that it does.
            let mut changes = standpoint.changes();
            let _ = timeout(RETRY_PAUSE, changes.changed()).await;
        }
    }

    /// Asks the node that is taken for the leader, once. The answer waits for the slot that it keeps until its end.
    async fn ask(
        &mut self,
        cluster: ClusterUuid,
        leader: &KnownLeader,
        authority: &str,
    ) -> Result<impl FnOnce(OwnedSemaphorePermit) -> Response + use<>, Failure> {
        let Some(mut request) = outgoing(&self.parts, authority) else {
            return Err(Failure::NotAccepted(format!("the leader's advertised address {authority:?} cannot be used")));
        };
        request.headers_mut().insert(&headers::TO, headers::addressee(cluster, leader.id, leader.term));
        let was_stream = !self.payload.is_whole();
        *request.body_mut() = self.payload.take(&self.patience);

        let sent = self.layer.shared.client.send(authority, request, &self.patience).await;
        let (response, connection) = match sent {
            Ok(answered) => answered,
            Err(SendError::NotSent { request, reason }) => {
                if was_stream {
                    self.payload.give_back(request.into_body());
                }
                return Err(Failure::NotAccepted(reason));
            }
            Err(SendError::Unknown { reason }) => return Err(Failure::Unknown(reason)),
        };
        if !headers::is_exactly(response.headers(), &headers::FROM, &headers::echo(leader.id, leader.term)) {
            // A handler's own 421 would carry the echo: this one says that no handler saw the request (RFC 9110, 15.5.20).
            return Err(match response.status() {
                StatusCode::MISDIRECTED_REQUEST => Failure::NotAccepted(format!("{authority} does not lead")),
                _ => Failure::Stranger,
            });
        }
        let (mut parts, incoming) = response.into_parts();
        headers::strip_hop_by_hop(&mut parts.headers);
        Ok(move |slot| {
            let mut response = Response::new(Body::new(Download::new(incoming, connection, slot)));
            *response.status_mut() = parts.status;
            *response.headers_mut() = parts.headers;
            response
        })
    }
}

/// The request as the leader gets it, without its body; none if the authority cannot stand in a header.
fn outgoing(parts: &Parts, authority: &str) -> Option<http::Request<Body>> {
    let mut request = http::Request::new(Body::empty());
    *request.method_mut() = parts.method.clone();
    // Nested routers see the rest of a path only; the leader must see all of it.
    let uri = parts.extensions.get::<OriginalUri>().map_or(&parts.uri, |original| &original.0);
    *request.uri_mut() = uri.path_and_query().map_or_else(|| Uri::from_static("/"), |path| Uri::from(path.clone()));

    let headers = request.headers_mut();
    headers.clone_from(&parts.headers);
    headers::strip_hop_by_hop(headers);
    // The client has been told to continue by whoever reads its body, which is this node.
    headers.remove(header::EXPECT);
    let asked = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let asked = asked.or_else(|| uri.authority().map(|authority| authority.as_str()));
    let client = parts.extensions.get::<ConnectInfo<std::net::SocketAddr>>().map(|info| info.0.ip().to_canonical());
    headers::note_origin(headers, client, asked);
    headers.insert(header::HOST, HeaderValue::from_str(authority).ok()?);
    Some(request)
}

/// Handles the request on this node. Only the answer to a delegated request says who gave it.
async fn here<S>(request: Request, mut inner: S, echo: Option<HeaderValue>) -> Result<Response, S::Error>
where
    S: Service<Request>,
    S::Response: IntoResponse,
{
    let mut response = inner.call(request).await?.into_response();
    headers::strip_own(response.headers_mut());
    if let Some(echo) = echo {
        response.headers_mut().insert(&headers::FROM, echo);
    }
    Ok(response)
}

/// An election takes well under a second; after several of them something else is wrong.
const LEADER_WAIT: Duration = Duration::from_secs(3);
/// As long as a command may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Before a node that was not reached or refused is asked again, unless news come first.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// Requests under way to the leader at a time, per layer: each holds a connection and at most 64 KiB of body. More than these are better refused
/// at once than queued behind each other.
const DELEGATED_MAX: usize = 1024;
