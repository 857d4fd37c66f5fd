//! The servers that are compared, each a process of its own. Each says its port in its first line, and runs until it is killed.

mod axum;
mod floor;
mod roomcast;

use std::error::Error;

/// Runs the server of this name.
pub(crate) fn serve(name: &str) -> Result<(), Box<dyn Error>> {
    crate::process::raise_open_files();
    match name {
        "floor" => Ok(floor::serve(false)?),
        "floor-gathering" => Ok(floor::serve(true)?),
        "roomcast" => roomcast::serve(),
        "axum" => Ok(axum::serve()?),
        other => Err(format!("there is no server {other}").into()),
    }
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
