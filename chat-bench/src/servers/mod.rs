//! The servers that are compared, each a process of its own. Each says its port in its first line, and runs until it is killed.

mod axum;
mod floor;
mod roomcast;

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
/// input is what the load program sends, `{"content":"…"}`.
fn envelope(room: &str, seq: u64, input: &str) -> String {
    let content = input.strip_prefix('{').unwrap_or(input);
    format!(
        r#"{{"id":"0192f3a4-5b6c-7d8e-9f01-23456789abcd","room_id":"{room}","seq":{seq},"user":{{"id":"ann","name":"ann"}},"created_at":"2026-01-02T03:04:05.678Z",{content}"#
    )
}

/// The room in a request's path, `/ws/ROOM?…`.
fn room_of(path: &str) -> &str {
    let path = path.strip_prefix("/ws/").unwrap_or(path);
    path.split('?').next().unwrap_or(path)
}
