//! The answers that this crate gives in an application's place. Each says what became of the request.

use std::fmt::Display;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{self, HeaderValue};

use super::headers::OUTCOME;

/// Seconds after which a refused client should try again: an election is over by then.
static RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// 503: certainly not applied; worth trying again. The sentence says so.
pub(super) fn not_applied(sentence: impl Display) -> Response {
    let mut response = text(StatusCode::SERVICE_UNAVAILABLE, sentence);
    response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER.clone());
    response
}

/// 504: it may have been applied, or may still be. The sentence says so.
pub(super) fn unknown(sentence: impl Display) -> Response {
    with_outcome(text(StatusCode::GATEWAY_TIMEOUT, sentence), "unknown")
}

/// 502: someone answered who is not the leader that was asked, and may have done anything.
pub(super) fn not_from_the_leader(authority: &str) -> Response {
    let reason =
        format_args!("the answer from {authority} is not from the leader that was asked; the outcome is unknown");
    with_outcome(text(StatusCode::BAD_GATEWAY, reason), "unknown")
}

/// 421: a delegated request that is for another node, role or term. No handler has seen it.
pub(super) fn misdirected() -> Response {
    text(StatusCode::MISDIRECTED_REQUEST, "not applied: this node is not the leader that was asked, in that term")
}

/// 501: what is asked for cannot cross to another node.
pub(super) fn not_delegable() -> Response {
    text(
        StatusCode::NOT_IMPLEMENTED,
        "not applied: tunnels and WebSockets are not delegated; connect to the leader itself",
    )
}

/// 400: the request broke off.
pub(super) fn broken_request(reason: impl Display) -> Response {
    text(StatusCode::BAD_REQUEST, format_args!("not applied: the body cannot be read: {reason}"))
}

/// 408: the rest of the request did not come.
pub(super) fn slow_request() -> Response {
    text(StatusCode::REQUEST_TIMEOUT, "not applied: the body did not arrive in time")
}

/// A sentence as the body.
pub(super) fn text(status: StatusCode, text: impl Display) -> Response {
    (status, format!("{text}\n")).into_response()
}

/// States the outcome in the header.
pub(super) fn with_outcome(mut response: Response, outcome: &'static str) -> Response {
    response.headers_mut().insert(&OUTCOME, HeaderValue::from_static(outcome));
    response
}
