//! A crowd of clients, in a process on the load program's core: they come, come back with a cursor, stop reading, or are just
//! there. One thread, which reads whole frames and looks at their numbers, where the load program counts headers alone.

mod burst;
mod connect;
mod gathering;
mod hold;
mod member;
mod resume;

use std::error::Error;
use std::io;

use serde::{Deserialize, Serialize};

pub(crate) use burst::{Burst, Drained};
pub(crate) use connect::{Connect, Connected};
pub(crate) use hold::{Crowd, Hold};
pub(crate) use resume::{Manner, Resume, Resumed};

/// What a crowd does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Task {
    Hold(Hold),
    Connect(Connect),
    Resume(Resume),
    Burst(Burst),
}

/// Does it, and prints what came of it.
pub(crate) fn crowd(text: &str) -> Result<(), Box<dyn Error>> {
    crate::process::raise_open_files();
    let found = match serde_json::from_str(text)? {
        Task::Hold(task) => return Ok(hold::hold(&task)?),
        Task::Connect(task) => serde_json::to_string(&connect::connect(&task)?)?,
        Task::Resume(task) => serde_json::to_string(&resume::resume(&task)?)?,
        Task::Burst(task) => serde_json::to_string(&burst::burst(&task)?)?,
    };
    println!("{found}");
    Ok(())
}

fn wrong(text: impl Into<String>) -> io::Error {
    io::Error::other(text.into())
}
