//! A hub, and three clients that do whatever they are told, in simulated time. Every request has one answer, every room's seq rises
//! by one or a gap is told, who stays gets to the head, every connection ends, and the hub stops cleanly.

#![no_main]

use libfuzzer_sys::fuzz_target;
use roomcast_fuzz::session::{Script, run};

fuzz_target!(|script: Script| run(&script));
