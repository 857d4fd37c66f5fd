//! A hub in simulated time, whose clients do as they are told: what the hub answers is held against the protocol.

pub(crate) mod crowd;
pub(crate) mod peer;
mod pipe;
mod script;
mod world;

pub use script::{Script, Start};
pub use world::run;
