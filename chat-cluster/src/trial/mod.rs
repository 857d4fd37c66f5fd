//! Clients talk while parts of the cluster fail, and nothing is lost, doubled or out of order.
//!
//! A seed decides who does what and what fails; what comes of it the machine's timing decides too, so that two runs of one seed
//! are alike but not the same.

mod audit;
mod book;
mod client;
mod fault;
mod run;
mod table;
mod visit;
mod witness;

pub(crate) use run::{Trial, run};
