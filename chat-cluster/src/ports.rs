//! Ports for servers that are started again on the same one.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use fastrand::Rng;

/// Below those that the system gives to outgoing connections: one of these could have a server's port while the server is down.
const RANGE: std::ops::Range<u16> = 12_000..32_000;

/// Ports of the loopback that nobody else listens on.
pub(crate) struct Ports {
    rng: Rng,
    given: Vec<u16>,
}

impl Ports {
    /// Different ones in each run, whatever the seed: several may be under way.
    pub(crate) fn new() -> Self {
        Self {
            rng: Rng::new(),
            given: Vec::new(),
        }
    }

    pub(crate) fn free(&mut self) -> Result<SocketAddr, String> {
        for _ in 0..1000 {
            let port = self.rng.u16(RANGE);
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            if !self.given.contains(&port) && TcpListener::bind(address).is_ok() {
                self.given.push(port);
                return Ok(address);
            }
        }
        Err(format!("no port of {RANGE:?} is free"))
    }
}
