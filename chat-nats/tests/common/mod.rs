//! What the tests are made of.
#![allow(dead_code, reason = "each test binary takes what it needs")]

pub(crate) mod nodes;
pub(crate) mod server;
