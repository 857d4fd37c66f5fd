//! A chat server in ten lines: rooms in memory, a listener, and a clean stop.
//!
//! ```text
//! cargo run -p roomcast-examples --example ten_lines
//! websocat ws://127.0.0.1:8080/ws/lobby?user=ann     # in a second terminal
//! websocat ws://127.0.0.1:8080/ws/lobby?user=bob     # in a third one
//! ```
//!
//! Type `{"content":"hello"}` into one of them: both print the message. Ctrl-C stops the server; the clients are told to
//! come back. Another port is the first argument.

use std::time::Duration;

use http::request::Parts;
use roomcast_core::{ErrorCode, Hub, MemoryStore, OpenPolicy, Refusal, User};
use roomcast_ws::Listener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let hub = Hub::builder(MemoryStore::new(), OpenPolicy).build()?;
    let listener = Listener::bind(roomcast_examples::address(), hub.clone(), |request: &Parts| {
        let user = User::named(
            request
                .uri
                .query()
                .and_then(|q| q.strip_prefix("user="))
                .unwrap_or_default(),
        );
        async { user.map_err(|error| Refusal::new(ErrorCode::Unauthenticated, error.to_string())) }
    });
    let listener = listener.await?;
    println!("listening on ws://{}/ws/lobby?user=ann", listener.local_addr()?);
    tokio::select! {
        () = listener.serve() => {}
        signal = tokio::signal::ctrl_c() => signal?,
    }
    hub.shutdown(Duration::from_secs(10)).await;
    Ok(())
}
