//! What the examples share, so that each of them shows one thing only.

use std::io;
use std::time::Duration;

use http::request::Parts;
use roomcast_core::{ErrorCode, Hub, Refusal, User};
use roomcast_ws::Listener;

/// Where an example listens: on this machine only, at the port of the first argument, or at 8080.
#[must_use]
pub fn address() -> String {
    let port = std::env::args().nth(1).unwrap_or_else(|| "8080".to_owned());
    format!("127.0.0.1:{port}")
}

/// Everybody is who they say they are: `/ws/lobby?user=ann`. Good for trying things out, and for nothing else.
///
/// # Errors
///
/// `unauthenticated` if the query holds no name, or one that isn't allowed.
pub fn name_in_query(request: &Parts) -> impl Future<Output = Result<User, Refusal>> + Send + use<> {
    let mut pairs = request.uri.query().unwrap_or_default().split('&');
    let name = pairs.find_map(|pair| pair.strip_prefix("user=")).unwrap_or_default();
    let user = User::named(name).map_err(|error| Refusal::new(ErrorCode::Unauthenticated, error.to_string()));
    std::future::ready(user)
}

/// Serves until Ctrl-C, then says goodbye to the clients and commits what was accepted.
///
/// # Errors
///
/// The system's.
pub async fn run(listener: Listener, hub: &Hub) -> io::Result<()> {
    println!("listening on ws://{}/ws/lobby?user=ann", listener.local_addr()?);
    tokio::select! {
        () = listener.serve() => {}
        signal = tokio::signal::ctrl_c() => signal?,
    }
    hub.shutdown(Duration::from_secs(10)).await;
    Ok(())
}
