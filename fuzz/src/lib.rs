//! What the targets share.

mod memory;
pub mod session;
pub mod websocket;

pub use memory::peak;
