//! Requests that are turned down.

use super::Rogue;
use crate::http;

pub(crate) struct Handshake {
    pub(super) name: &'static str,
    method: &'static str,
    /// Behind it comes `user=`.
    path: &'static str,
    /// Lines that a good request has in another form, or not at all; see [`Handshake::request`].
    version: &'static str,
    key: &'static str,
    upgrade: &'static str,
    more: &'static str,
    status: u16,
    error: &'static str,
}

/// A good one, but that it succeeds.
const GOOD: Handshake = Handshake {
    name: "",
    method: "GET",
    path: "/ws/rogues?",
    version: "13",
    key: "dGhlIHNhbXBsZSBub25jZQ==",
    upgrade: "websocket",
    more: "Sec-WebSocket-Protocol: chat.v1.json\r\n",
    status: 101,
    error: "",
};

pub(super) static ALL: &[Handshake] = &[
    Handshake {
        name: "handshake: another method",
        method: "POST",
        status: 405,
        error: "bad_request",
        ..GOOD
    },
    Handshake {
        name: "handshake: another version",
        version: "12",
        status: 426,
        error: "bad_request",
        ..GOOD
    },
    Handshake {
        name: "handshake: a wrong key",
        key: "short",
        status: 400,
        error: "bad_request",
        ..GOOD
    },
    Handshake {
        name: "handshake: no upgrade",
        upgrade: "h2c",
        status: 400,
        error: "bad_request",
        ..GOOD
    },
    Handshake {
        name: "handshake: no room id",
        path: "/ws/a%20b?",
        status: 400,
        error: "bad_request",
        ..GOOD
    },
    Handshake {
        name: "handshake: a cursor and a count",
        path: "/ws/rogues?since=e:1&last=1&",
        status: 400,
        error: "bad_request",
        ..GOOD
    },
    Handshake {
        name: "handshake: plain and without a room",
        path: "/ws?",
        more: "",
        status: 400,
        error: "bad_request",
        ..GOOD
    },
    Handshake {
        name: "handshake: a foreign page",
        more: "Origin: https://evil.example\r\n",
        status: 403,
        error: "bad_origin",
        ..GOOD
    },
    Handshake {
        name: "handshake: two hosts",
        more: "Host: evil.example\r\n",
        status: 400,
        error: "bad_request",
        ..GOOD
    },
    Handshake {
        name: "handshake: another path",
        path: "/ws/rogues/more?",
        status: 404,
        error: "not_found",
        ..GOOD
    },
];

impl Handshake {
    pub(super) async fn perform(&self, rogue: &Rogue) -> Result<(), String> {
        let request = self.request(rogue);
        let answer = http::send(&rogue.book, request.as_bytes()).await?.expect(self.status)?;
        let error = answer.json()?;
        if error["error"] == self.error && error["message"].is_string() {
            Ok(())
        } else {
            Err(format!("status {} came with {error}", self.status))
        }
    }

    fn request(&self, rogue: &Rogue) -> String {
        let Self {
            method,
            path,
            version,
            key,
            upgrade,
            more,
            ..
        } = self;
        format!(
            "{method} {path}user={} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade, close\r\nUpgrade: {upgrade}\r\n\
             Sec-WebSocket-Version: {version}\r\nSec-WebSocket-Key: {key}\r\n{more}\r\n",
            rogue.name, rogue.book.address
        )
    }
}
