//! A hub with members, and a bus that hands over anything, true, false or garbled, in any order, while two hubs write to one store.
//! Members see entries in order, and only such as are stored or were claimed to be; in the end all that is stored, unless they
//! were sent away because of a lie; who is there is told without contradiction; and all of it within bounds of memory.

#![no_main]

use libfuzzer_sys::fuzz_target;
use roomcast_fuzz::bus::{Script, run};
use roomcast_fuzz::peak;

/// What a run may take at a time: its store, its connections and all that was said.
const MOST: usize = 8 << 20;

fuzz_target!(|script: Script| {
    let ((), memory) = peak(|| run(&script));
    assert!(memory < MOST, "{memory} bytes");
});
