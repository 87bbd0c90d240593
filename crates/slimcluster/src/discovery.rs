//! Where to look for the first member: seeds, and any source of the application's own.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;

use crate::error::StartError;

/// A boxed future of a plug-in.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A source of addresses at which members may listen. Asked again whenever the node looks for members, so names and lists may change;
/// the node's own address, addresses that do not answer and doubles are harmless.
pub trait Discover: Send + Sync + 'static {
    /// The addresses known now, or why there are none, in plain words. Given up after a few seconds.
    fn discover(&self) -> BoxFuture<'_, Result<Vec<SocketAddr>, String>>;

    /// What the source is, for messages to people: `seeds n1:60001, n2:60001`.
    fn describe(&self) -> String;
}

/// A fixed list of `HOST:PORT`, resolved afresh each time.
#[derive(Clone, Debug)]
pub struct Seeds {
    addresses: Vec<String>,
}

impl Seeds {
    /// Seeds at these addresses. A host is a name, an IPv4 address, or an IPv6 address in brackets.
    pub fn new<A: Into<String>>(addresses: impl IntoIterator<Item = A>) -> Self {
        Seeds { addresses: addresses.into_iter().map(Into::into).collect() }
    }

    pub(crate) fn addresses(&self) -> &[String] {
        &self.addresses
    }

    pub(crate) fn validate(&self) -> Result<(), StartError> {
        if self.addresses.len() > SEEDS_MAX {
            return Err(StartError::option(
                "seeds",
                self.addresses.len(),
                format!("at most {SEEDS_MAX}; a few of a cluster's members are enough"),
            ));
        }
        self.addresses.iter().try_for_each(|address| check_address_text("seeds", address))
    }
}

impl Discover for Seeds {
    fn discover(&self) -> BoxFuture<'_, Result<Vec<SocketAddr>, String>> {
        Box::pin(async move {
            let mut found = Vec::new();
            let mut problems = Vec::new();
            for address in &self.addresses {
                match tokio::net::lookup_host(address.as_str()).await {
                    Ok(resolved) => found.extend(resolved.take(RESOLVED_MAX)),
                    Err(error) => problems.push(format!("{address}: {error}")),
                }
            }
            // One name that does not resolve must not hide those that do: pods appear one after the other.
            if found.is_empty() && !problems.is_empty() { Err(problems.join("; ")) } else { Ok(found) }
        })
    }

    fn describe(&self) -> String {
        format!("seeds {}", self.addresses.join(", "))
    }
}

// A list beyond this is a mistake: any one member that answers is enough.
const SEEDS_MAX: usize = 256;
/// A headless service of a large cluster lists this many addresses; any of them is enough.
pub(crate) const RESOLVED_MAX: usize = 256;

/// Refuses what cannot be `HOST:PORT`, before anything is resolved.
pub(crate) fn check_address_text(option: &'static str, address: &str) -> Result<(), StartError> {
    let refuse = || {
        Err(StartError::option(
            option,
            address,
            "give HOST:PORT with a port from 1 to 65535, such as node-1:60001, 10.0.0.1:60001 or [fd00::1]:60001",
        ))
    };
    let Some((host, port)) = address.rsplit_once(':') else { return refuse() };
    let bare_ipv6 = host.contains(':') && !(host.starts_with('[') && host.ends_with(']'));
    if host.is_empty() || host.len() > 255 || bare_ipv6 || host.contains(char::is_whitespace) {
        return refuse();
    }
    match port.parse::<u16>() {
        Ok(port) if port > 0 => Ok(()),
        _ => refuse(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked_before_they_are_resolved() {
        for good in ["n1:60001", "10.0.0.1:1", "[::1]:65535", "n1.default.svc.cluster.local:60001"] {
            assert!(check_address_text("seeds", good).is_ok(), "{good}");
        }
        for bad in ["", "n1", "n1:", ":60001", "n1:0", "n1:65536", "n1:port", "::1:60001", "n 1:60001"] {
            let error = check_address_text("seeds", bad).unwrap_err().to_string();
            assert!(error.contains("HOST:PORT"), "{bad}: {error}");
        }
    }
}
