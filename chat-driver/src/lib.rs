//! What the programs that drive chat servers from outside have in common.
//!
//! They start a server as a process of its own ([`process`], or [`supervised`] in tests), speak to it as clients do ([`http`], [`socket`], [`frame`]), hold
//! what a member sees against what the protocol promises ([`sight`]), and say at the end what was wrong ([`verdict`]). No code
//! of the engine is in here, so that a mistake of the engine's isn't made twice.

pub mod frame;
pub mod http;
pub mod latency;
pub mod process;
pub mod sight;
pub mod socket;
pub mod supervised;
pub mod table;
pub mod verdict;
