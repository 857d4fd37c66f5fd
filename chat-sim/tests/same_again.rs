//! A seed is a run, to the last event.
#![allow(missing_docs)]

/// Whatever depends on a real clock, on the order of a hash map or on an unbiased `select!` shows here.
#[test]
fn the_same_seed_is_the_same_run() {
    let mut sockets = 0;
    for seed in 1..=40 {
        let (first, second) = (chat_sim::run(seed, None), chat_sim::run(seed, None));
        sockets += first.tally.sockets;
        assert_eq!(
            (first.tally, first.hash),
            (second.tally, second.hash),
            "seed {seed} went two ways"
        );
    }
    assert!(sockets > 100, "{sockets} WebSockets");
}

#[test]
fn another_seed_is_another_run() {
    assert_ne!(chat_sim::run(1, None).hash, chat_sim::run(2, None).hash);
}
