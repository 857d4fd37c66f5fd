//! Under which names the server may be asked.

use std::net::{IpAddr, SocketAddr};

use axum::http::header::HOST;
use axum::http::{HeaderMap, Version};
use roomcast_core::{ErrorCode, Refusal};

/// Under which names the server may be asked.
///
/// A server that listens on loopback is for this machine alone, but a page of `evil.example` gets there as well if its owner has
/// that name point at 127.0.0.1 for a while ("DNS rebinding"): for the browser, page and server are then of one
/// origin. Its requests give themselves away by their `Host`. So on loopback that has to be an address, a name without
/// a dot, `localhost`, or the host of an origin that was listed.
pub(crate) struct Names {
    loopback: bool,
    listed: Vec<String>,
}

impl Names {
    pub(crate) fn new(listening: Option<SocketAddr>, origins: &[String]) -> Self {
        Self {
            loopback: listening.is_some_and(|address| address.ip().is_loopback()),
            listed: origins
                .iter()
                .filter_map(|origin| Some(name(origin.split_once("://")?.1.trim_end_matches('/')).to_ascii_lowercase()))
                .collect(),
        }
    }

    /// Checks the `Host` of a request, which HTTP/1.1 requires.
    pub(crate) fn check(&self, version: Version, headers: &HeaderMap) -> Result<(), Refusal> {
        let mut hosts = headers.get_all(HOST).iter();
        let host = match (hosts.next(), hosts.next()) {
            (Some(host), None) => host.to_str().ok(),
            (None, _) if version < Version::HTTP_11 => return Ok(()),
            _ => None,
        };
        let Some(host) = host else {
            return Err(Refusal::new(ErrorCode::BadRequest, "a request has one Host header"));
        };
        let name = name(host).to_ascii_lowercase();
        if !self.loopback || is_local(&name) || self.listed.contains(&name) {
            return Ok(());
        }
        let text = format!(
            "this server listens for its own machine alone, and isn't known as {name}; --origin https://{name} lists that name"
        );
        Err(Refusal::new(ErrorCode::Forbidden, text))
    }
}

/// What no foreign page can have as its host, or does no harm by having.
fn is_local(name: &str) -> bool {
    let address = name.trim_start_matches('[').trim_end_matches(']');
    !name.contains('.') || name.ends_with(".localhost") || address.parse::<IpAddr>().is_ok()
}

/// The host without its port.
fn name(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(names: &Names, hosts: &[&str]) -> Option<ErrorCode> {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(HOST, host.parse().unwrap());
        }
        names
            .check(Version::HTTP_11, &headers)
            .err()
            .map(|refusal| refusal.code)
    }

    #[test]
    fn a_foreign_name_does_not_reach_a_server_on_loopback() {
        let origins = ["https://Chat.example:8443/".to_owned()];
        let local = Names::new("127.0.0.1:8080".parse().ok(), &origins);
        for host in [
            "localhost:8080",
            "127.0.0.1:8080",
            "[::1]:8080",
            "box",
            "a.localhost",
            "chat.example",
            "10.0.0.1",
        ] {
            assert_eq!(check(&local, &[host]), None, "{host}");
        }
        for host in [
            "evil.example:8080",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "evil.",
            "chat.example.evil",
        ] {
            assert_eq!(check(&local, &[host]), Some(ErrorCode::Forbidden), "{host}");
        }
        let open = Names::new("0.0.0.0:8080".parse().ok(), &[]);
        assert_eq!(check(&open, &["any.example"]), None);
    }

    #[test]
    fn a_request_names_one_host() {
        let names = Names::new(None, &[]);
        assert_eq!(check(&names, &[]), Some(ErrorCode::BadRequest));
        assert_eq!(check(&names, &["a", "a"]), Some(ErrorCode::BadRequest));
        assert_eq!(check(&names, &["a"]), None);
        names.check(Version::HTTP_10, &HeaderMap::new()).unwrap();
    }
}
