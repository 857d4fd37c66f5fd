//! What the tests are made of.
#![allow(dead_code, reason = "each test binary takes what it needs")]

pub(crate) mod make;
pub(crate) mod mongod;
pub(crate) mod proxy;
pub(crate) mod replica_set;
pub(crate) mod shared;
