//! One GET over HTTP/1.1: all that looking at a node needs.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::str::FromStr;
use std::time::{Duration, Instant};

/// What a command waits for its node in all; a node answers `/cluster` from memory.
const PATIENCE: Duration = Duration::from_secs(5);
/// Far above the answer of a cluster of thousands, far below what would hurt.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// Where a node serves HTTP: `http://host:port`, with a path in front of our own if a proxy needs one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    host: String,
    port: u16,
    path: String,
}

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Url, String> {
        if text.starts_with("https://") {
            return Err(
                "TLS is not supported; give the address that the node itself serves, as http://host:port".to_owned()
            );
        }
        let rest = text.strip_prefix("http://").unwrap_or(text);
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = match authority.rsplit_once(':') {
            // The colons of a bare [IPv6] address are no port.
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().map_err(|_| format!("`{port}` is not a port; expected http://host:port"))?)
            }
            _ => (authority, 80),
        };
        if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c.is_control() || c == '@') {
            return Err("expected http://host:port".to_owned());
        }
        Ok(Url { host: host.to_owned(), port, path: path.trim_end_matches('/').to_owned() })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}:{}{}", self.host, self.port, self.path)
    }
}

/// The body of the answer to `GET path`.
///
/// # Errors
/// One sentence that names the address and what went wrong: no connection, no answer in time, a status other than 200, or
/// bytes that are not HTTP.
pub fn get(url: &Url, path: &str) -> Result<Vec<u8>, String> {
    let answer = exchange(url, path).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            format!("{url}: no answer within {PATIENCE:?}; is the node running, and can it be reached from here?")
        }
        _ => format!("{url}: {error}; is the node running, and is this the address of its HTTP server?"),
    })?;
    let (status, body) =
        parse(&answer).ok_or_else(|| format!("{url}: the answer is not HTTP; is this the HTTP port?"))?;
    if status == 200 { Ok(body) } else { Err(format!("{url}{path} answers {status}; is this a SlimCluster node?")) }
}

fn exchange(url: &Url, path: &str) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + PATIENCE;
    let mut stream = connect(url, deadline)?;
    let (host, port) = (&url.host, url.port);
    // In one write: a packet for each part of the format string would be the alternative.
    let request = format!("GET {}{path} HTTP/1.1\r\nhost: {host}:{port}\r\nconnection: close\r\n\r\n", url.path);
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    let mut part = [0; 8192];
    loop {
        stream.set_read_timeout(Some(left(deadline)?))?;
        let length = stream.read(&mut part)?;
        if length == 0 {
            return Ok(answer);
        }
        answer.extend_from_slice(&part[..length]);
        if answer.len() as u64 > ANSWER_BYTES_MAX {
            return Err(io::Error::other(format!("an answer of more than {ANSWER_BYTES_MAX} bytes")));
        }
    }
}

/// A name may have several addresses, of which not all are served: the first that answers is taken.
fn connect(url: &Url, deadline: Instant) -> io::Result<TcpStream> {
    let host = url.host.trim_start_matches('[').trim_end_matches(']');
    let mut failure = io::Error::other("the name has no address");
    for addr in (host, url.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&addr, left(deadline)?) {
            Ok(stream) => {
                stream.set_write_timeout(Some(left(deadline)?))?;
                return Ok(stream);
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn left(deadline: Instant) -> io::Result<Duration> {
    match deadline.checked_duration_since(Instant::now()) {
        Some(left) if !left.is_zero() => Ok(left),
        _ => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// Status and body of a whole answer.
fn parse(answer: &[u8]) -> Option<(u16, Vec<u8>)> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(answer.get(..end)?).ok()?;
    let body = answer.get(end + 4..)?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    let chunked = lines.filter_map(|line| line.split_once(':')).any(|(name, value)| {
        name.eq_ignore_ascii_case("transfer-encoding") && value.to_ascii_lowercase().contains("chunked")
    });
    Some((status, if chunked { dechunk(body)? } else { body.to_vec() }))
}

fn dechunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|window| window == b"\r\n")?;
        let size = std::str::from_utf8(rest.get(..end)?).ok()?;
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        let chunk = rest.get(end + 2..)?;
        body.extend_from_slice(chunk.get(..size)?);
        rest = chunk.get(size..)?.strip_prefix(b"\r\n")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let shown = |text: &str| text.parse::<Url>().map(|url| url.to_string());
        assert_eq!(shown("http://127.0.0.1:8081/").as_deref(), Ok("http://127.0.0.1:8081"));
        assert_eq!(shown("n1:8081").as_deref(), Ok("http://n1:8081"));
        assert_eq!(shown("http://[::1]").as_deref(), Ok("http://[::1]:80"));
        assert_eq!(shown("http://proxy/n1").as_deref(), Ok("http://proxy:80/n1"));
        for wrong in ["https://n1", "http://", "http://n1:port", "http://a b:1", "n1:70000"] {
            assert!(wrong.parse::<Url>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn answers() {
        assert_eq!(parse(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nab"), Some((200, b"ab".to_vec())));
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\n\r\n";
        assert_eq!(parse(chunked), Some((200, b"abc".to_vec())));
        for wrong in
            [&b""[..], b"SSH-2.0\r\n\r\n", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffff\r\n"]
        {
            assert_eq!(parse(wrong), None);
        }
    }
}
