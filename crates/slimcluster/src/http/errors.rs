//! The errors of this crate as HTTP responses, so that handlers can return them: 503 only for what certainly was not applied.

use axum::response::{IntoResponse, Response};
use http::StatusCode;

use super::answers;
use crate::{Error, ReadError, Refused, SubmitError};

/// 503 with `Retry-After` when the command certainly was not applied, 504 with `slimcluster-outcome: unknown` when nobody knows, 413 for a command over
/// the limit, 500 for what trying again does not mend.
impl IntoResponse for SubmitError {
    fn into_response(self) -> Response {
        match &self {
            SubmitError::NotCommitted(Refused::TooLarge { .. }) => answers::text(StatusCode::PAYLOAD_TOO_LARGE, &self),
            SubmitError::NotCommitted(Refused::Codec(_)) => answers::text(StatusCode::INTERNAL_SERVER_ERROR, &self),
            SubmitError::NotCommitted(_) => answers::not_applied(&self),
            SubmitError::Unknown { .. } | SubmitError::NodeStopped => answers::unknown(&self),
            SubmitError::Reply(_) => {
                answers::with_outcome(answers::text(StatusCode::INTERNAL_SERVER_ERROR, &self), "applied")
            }
        }
    }
}

/// 503 with `Retry-After`: a read changes nothing, so that trying again is always safe.
impl IntoResponse for ReadError {
    fn into_response(self) -> Response {
        answers::not_applied(self)
    }
}

/// As the error inside; 500 for what no request can cause.
impl IntoResponse for Error {
    fn into_response(self) -> Response {
        match self {
            Error::Submit(error) => error.into_response(),
            Error::Read(error) => error.into_response(),
            error => answers::text(StatusCode::INTERNAL_SERVER_ERROR, error),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::header;
    use slimcluster_core::{CommandId, SessionId};

    use super::*;

    #[test]
    fn the_status_says_what_became_of_the_command() {
        let id = CommandId { session: SessionId(1), number: 2 };
        for (error, status, outcome) in [
            (SubmitError::NotCommitted(Refused::NoLeader), 503, None),
            (SubmitError::NotCommitted(Refused::Overloaded), 503, None),
            (SubmitError::NotCommitted(Refused::ShuttingDown), 503, None),
            (SubmitError::NotCommitted(Refused::TooLarge { bytes: 2, bytes_max: 1 }), 413, None),
            (SubmitError::Unknown { id }, 504, Some("unknown")),
            (SubmitError::NodeStopped, 504, Some("unknown")),
            (SubmitError::Reply("x".into()), 500, Some("applied")),
        ] {
            let text = format!("{error:?}");
            let response = Error::from(error).into_response();
            assert_eq!(response.status(), status, "{text}");
            assert_eq!(response.headers().get("slimcluster-outcome").map(|v| v.to_str().unwrap()), outcome, "{text}");
            assert_eq!(response.headers().contains_key(header::RETRY_AFTER), status == 503, "{text}");
        }
        let response = ReadError::Behind.into_response();
        assert_eq!((response.status().as_u16(), response.headers()[header::RETRY_AFTER].as_bytes()), (503, &b"1"[..]));
    }
}
