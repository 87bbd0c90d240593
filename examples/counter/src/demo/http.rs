//! The little of HTTP/1.1 that the demo needs of a client: one connection, one request at a time, a deadline for each.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Our own nodes are not expected to send more than this; whatever does is not one of them.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// A client of one node.
pub struct Client {
    addr: SocketAddr,
    timeout: Duration,
    connection: Option<BufReader<TcpStream>>,
}

/// An answer: its status and its body.
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body as text.
    pub body: String,
}

/// Why there is no answer.
pub enum Failure {
    /// There was no connection, so the request was never sent.
    NotSent(io::Error),
    /// The request was sent, the answer is missing: it may have taken effect.
    NoAnswer(io::Error),
}

impl Failure {
    /// The reason, as text.
    pub fn reason(&self) -> String {
        let (Failure::NotSent(error) | Failure::NoAnswer(error)) = self;
        error.to_string()
    }
}

impl Client {
    /// A client of the node at `addr`; no read or write takes longer than `timeout`.
    pub fn new(addr: SocketAddr, timeout: Duration) -> Self {
        Client { addr, timeout, connection: None }
    }

    /// Sends a request without a body.
    ///
    /// # Errors
    /// Says whether the request can have taken effect. The next call connects anew.
    pub fn call(&mut self, method: &str, path: &str) -> Result<Answer, Failure> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect().map_err(Failure::NotSent)?,
        };
        let answer = exchange(&mut connection, method, path, self.addr).map_err(Failure::NoAnswer)?;
        self.connection = Some(connection);
        Ok(answer)
    }

    fn connect(&self) -> io::Result<BufReader<TcpStream>> {
        let stream = TcpStream::connect_timeout(&self.addr, self.timeout)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(self.timeout))?;
        stream.set_write_timeout(Some(self.timeout))?;
        Ok(BufReader::new(stream))
    }
}

fn exchange(stream: &mut BufReader<TcpStream>, method: &str, path: &str, host: SocketAddr) -> io::Result<Answer> {
    let request = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: 0\r\n\r\n");
    stream.get_mut().write_all(request.as_bytes())?;
    let status = line(stream)?;
    let status = status.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(|| no_http(&status))?;
    let (mut length, mut chunked) = (0, false);
    loop {
        let header = line(stream)?;
        if header.is_empty() {
            break;
        }
        let Some((name, value)) = header.split_once(':') else { return Err(no_http(&header)) };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().map_err(|_| no_http(&header))?,
            "transfer-encoding" => chunked = value.contains("chunked"),
            _ => {}
        }
    }
    let mut body = Vec::new();
    if chunked {
        loop {
            let size = line(stream)?;
            let size = usize::from_str_radix(size.trim(), 16).map_err(|_| no_http(&size))?;
            read_into(stream, size, &mut body)?;
            line(stream)?;
            if size == 0 {
                break;
            }
        }
    } else {
        read_into(stream, length, &mut body)?;
    }
    Ok(Answer { status, body: String::from_utf8_lossy(&body).into_owned() })
}

fn line(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    stream.by_ref().take(ANSWER_BYTES_MAX as u64).read_line(&mut line)?;
    match line.strip_suffix("\r\n") {
        Some(line) => Ok(line.to_owned()),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn read_into(stream: &mut BufReader<TcpStream>, length: usize, body: &mut Vec<u8>) -> io::Result<()> {
    if body.len().saturating_add(length) > ANSWER_BYTES_MAX {
        return Err(io::Error::other("an answer larger than any of ours"));
    }
    let start = body.len();
    body.resize(start + length, 0);
    stream.read_exact(&mut body[start..])
}

fn no_http(line: &str) -> io::Error {
    io::Error::other(format!("not an HTTP answer: {line:?}"))
}
