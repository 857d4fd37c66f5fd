//! The servers that are compared, each a process of its own. Each says its port in its first line, and runs until it is killed.

mod axum;
mod floor;
mod roomcast;
mod socketioxide;

use std::error::Error;

use roomcast_core::MemoryStore;

/// Runs the server of this name, with what it needs.
pub(crate) fn serve(name: &str, with: &[&str]) -> Result<(), Box<dyn Error>> {
    crate::process::raise_open_files();
    match (name, with) {
        ("floor", []) => Ok(floor::serve(false)?),
        ("floor-gathering", []) => Ok(floor::serve(true)?),
        ("roomcast", []) => roomcast::serve(one_core()?, MemoryStore::new()),
        ("roomcast-threads", [threads]) => roomcast::serve(cores(threads.parse()?)?, MemoryStore::new()),
        #[cfg(feature = "stores")]
        ("roomcast-sqlite", [path]) => {
            let runtime = one_core()?;
            let store = runtime.block_on(crate::durable::sqlite(path.as_ref()))?;
            roomcast::serve(runtime, store)
        }
        #[cfg(feature = "stores")]
        ("roomcast-mongodb", [uri]) => {
            let runtime = one_core()?;
            let store = runtime.block_on(crate::durable::mongodb(uri))?;
            roomcast::serve(runtime, store)
        }
        ("axum", []) => Ok(axum::serve()?),
        ("socketioxide", []) => Ok(socketioxide::serve()?),
        (other, with) => Err(format!("there is no server {other} with {with:?}").into()),
    }
}

fn cores(threads: usize) -> std::io::Result<tokio::runtime::Runtime> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(threads.max(1)).enable_all().build()
}

fn one_core() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// What a room's members get for a message: as long as what roomcast sends, so that all write the same number of bytes. The
/// rest is what [`addressed`] left.
fn envelope(room: &str, seq: u64, rest: &str) -> String {
    format!(
        r#"{{"id":"0192f3a4-5b6c-7d8e-9f01-23456789abcd","room_id":"{room}","seq":{seq},"user":{{"id":"ann","name":"ann"}},"created_at":"2026-01-02T03:04:05.678Z",{rest}"#
    )
}

/// The room that a message names, if its sender is in several, and the rest of it. The load program sends
/// `{"content":"…"}` and `{"room_id":"…","content":"…"}`.
fn addressed(input: &str) -> (Option<&str>, &str) {
    let named = input.strip_prefix(r#"{"room_id":""#);
    match named.and_then(|text| text.split_once(r#"","#)) {
        Some((room, rest)) => (Some(room), rest),
        None => (None, input.strip_prefix('{').unwrap_or(input)),
    }
}

/// The rooms in a request's path, `/ws/ROOM,ROOM…?…`.
fn rooms_of(path: &str) -> impl Iterator<Item = &str> {
    let path = path.strip_prefix("/ws/").unwrap_or(path);
    path.split('?').next().unwrap_or(path).split(',')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_addressed() {
        assert_eq!(addressed(r#"{"content":"hi"}"#), (None, r#""content":"hi"}"#));
        assert_eq!(
            addressed(r#"{"room_id":"r2","content":"hi"}"#),
            (Some("r2"), r#""content":"hi"}"#)
        );
        assert_eq!(rooms_of("/ws/a,b?x=1").collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn an_envelope_is_json() {
        let text = envelope("r1", 7, addressed(r#"{"room_id":"r1","content":"hi"}"#).1);
        let message: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(
            (&message["room_id"], &message["seq"], &message["content"]),
            (&"r1".into(), &7.into(), &"hi".into())
        );
    }
}
