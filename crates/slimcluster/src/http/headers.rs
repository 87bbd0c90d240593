//! What of a request's and an answer's headers crosses to the other node, and the two headers by which nodes recognise each other.

use std::fmt::Write as _;
use std::net::IpAddr;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::Authority;
use slimcluster_core::{ClusterUuid, NodeId, Term};

/// On a delegated request: whom it is for, as `CLUSTER/NODEID/TERM`.
pub(super) static TO: HeaderName = HeaderName::from_static("slimcluster-to");
/// On the answer to a delegated request: who gave it, as `NODEID/TERM`.
pub(super) static FROM: HeaderName = HeaderName::from_static("slimcluster-from");
/// On an answer: what became of the request, where the status alone does not say it.
pub(super) static OUTCOME: HeaderName = HeaderName::from_static("slimcluster-outcome");

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// The value of [`TO`].
pub(super) fn addressee(cluster: ClusterUuid, node: NodeId, term: Term) -> HeaderValue {
    plain(format!("{cluster}/{node}/{term}"))
}

/// The value of [`FROM`].
pub(super) fn echo(node: NodeId, term: Term) -> HeaderValue {
    plain(format!("{node}/{term}"))
}

/// Whether the header is there exactly once, with this value.
pub(super) fn is_exactly(headers: &HeaderMap, name: &HeaderName, value: &HeaderValue) -> bool {
    let mut values = headers.get_all(name).iter();
    values.next() == Some(value) && values.next().is_none()
}

/// Removes what no client may say or see.
pub(super) fn strip_own(headers: &mut HeaderMap) {
    headers.remove(&TO);
    headers.remove(&FROM);
}

/// Removes what concerns one connection only (RFC 9110, 7.6.1), and our own two headers.
pub(super) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in [
        header::CONNECTION,
        KEEP_ALIVE.clone(),
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ] {
        headers.remove(name);
    }
    let proxy: Vec<HeaderName> = headers.keys().filter(|name| name.as_str().starts_with("proxy-")).cloned().collect();
    for name in proxy {
        headers.remove(name);
    }
    strip_own(headers);
}

/// Notes on whose behalf the request goes to the leader: the address it came from, where known, and the authority that the client asked.
pub(super) fn note_origin(headers: &mut HeaderMap, client: Option<IpAddr>, asked: Option<&str>) {
    if let Some(ip) = client {
        append_to_list(headers, &X_FORWARDED_FOR, &ip.to_string());
    }
    if let Some(asked) = asked
        && !headers.contains_key(&X_FORWARDED_HOST)
        && let Ok(value) = HeaderValue::from_str(asked)
    {
        headers.insert(&X_FORWARDED_HOST, value);
    }
    // Who sends the standardised form reads it, too: without an element of ours its last one would be taken for this hop (RFC 7239).
    if headers.contains_key(header::FORWARDED) {
        let mut element = match client {
            Some(IpAddr::V4(ip)) => format!("for={ip}"),
            Some(IpAddr::V6(ip)) => format!("for=\"[{ip}]\""),
            None => "for=unknown".to_owned(),
        };
        if let Some(asked) = asked.filter(|asked| asked.parse::<Authority>().is_ok()) {
            // Writing into a String cannot fail.
            let _ = write!(element, ";host=\"{asked}\"");
        }
        append_to_list(headers, &header::FORWARDED, &element);
    }
}

/// Lists may be spread over several lines; readers often look at one only, so they become one.
fn append_to_list(headers: &mut HeaderMap, name: &HeaderName, element: &str) {
    let mut list = Vec::new();
    for value in headers.get_all(name) {
        list.extend_from_slice(value.as_bytes());
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(element.as_bytes());
    if let Ok(value) = HeaderValue::from_bytes(&list) {
        headers.insert(name.clone(), value);
    }
}

/// Whether the client wants to leave HTTP's requests and answers behind, which cannot be delegated.
pub(super) fn wants_web_socket(headers: &HeaderMap) -> bool {
    let mut upgrades = headers.get_all(header::UPGRADE).iter().filter_map(|value| value.to_str().ok());
    upgrades.any(|value| value.split(',').any(|protocol| protocol.trim().eq_ignore_ascii_case("websocket")))
}

/// For text that is known to be printable ASCII. Any other would become a value that equals none of ours.
fn plain(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn what_concerns_one_connection_stays_there() {
        let mut headers = map(&[
            ("connection", "close, X-One"),
            ("connection", "x-two,"),
            ("x-one", "1"),
            ("x-two", "2"),
            ("keep-alive", "timeout=5"),
            ("proxy-authorization", "p"),
            ("proxy-connection", "keep-alive"),
            ("te", "trailers"),
            ("trailer", "x-sum"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("slimcluster-to", "forged"),
            ("slimcluster-from", "forged"),
            ("authorization", "kept"),
            ("content-length", "3"),
        ]);
        strip_hop_by_hop(&mut headers);
        assert_eq!(headers, map(&[("authorization", "kept"), ("content-length", "3")]));
    }

    #[test]
    fn the_origin_is_appended_and_never_replaced() {
        let mut headers = map(&[("x-forwarded-for", "10.0.0.1"), ("x-forwarded-for", "10.0.0.2")]);
        note_origin(&mut headers, Some("192.0.2.7".parse().unwrap()), Some("shop.example"));
        assert_eq!(
            headers,
            map(&[("x-forwarded-for", "10.0.0.1, 10.0.0.2, 192.0.2.7"), ("x-forwarded-host", "shop.example")])
        );

        let mut headers = map(&[("x-forwarded-host", "front.example"), ("forwarded", "for=10.0.0.1")]);
        note_origin(&mut headers, Some("2001:db8::1".parse().unwrap()), Some("n2:8081"));
        assert_eq!(headers["x-forwarded-host"], "front.example");
        assert_eq!(headers["forwarded"], "for=10.0.0.1, for=\"[2001:db8::1]\";host=\"n2:8081\"");

        let mut headers = HeaderMap::new();
        note_origin(&mut headers, None, None);
        assert!(headers.is_empty(), "what is not known is not invented");
    }

    #[test]
    fn the_echo_must_be_there_exactly_once() {
        let value = echo(NodeId(1), Term(7));
        assert_eq!(value, "00000000000000000000000000000001/7");
        let mut headers = HeaderMap::new();
        assert!(!is_exactly(&headers, &FROM, &value));
        headers.append(&FROM, value.clone());
        assert!(is_exactly(&headers, &FROM, &value));
        headers.append(&FROM, value.clone());
        assert!(!is_exactly(&headers, &FROM, &value));
    }

    #[test]
    fn web_sockets_are_recognised() {
        assert!(wants_web_socket(&map(&[("upgrade", "h2c, WebSocket")])));
        assert!(!wants_web_socket(&map(&[("upgrade", "h2c")])));
        assert!(!wants_web_socket(&HeaderMap::new()));
    }
}
