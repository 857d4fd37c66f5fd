//! A hub with members, in simulated time, that is told anything by its bus while another hub writes to their store.

mod script;
mod told;
mod wire;
mod world;

pub use script::Script;
pub use world::run;
