//! What the targets share.

pub mod bus;
mod memory;
pub mod session;
mod sources;
pub mod websocket;

pub use memory::peak;
