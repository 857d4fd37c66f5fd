//! What the tests of arbitrary sequences have in common. `PROPTEST_CASES` says how many each of them tries; a sequence that failed is
//! written to `proptest-regressions/`, and tried first from then on.

use proptest::test_runner::{Config, FileFailurePersistence};

/// So many cases unless told otherwise; what fails is kept in this file.
pub(crate) fn config(cases: u32, regressions: &'static str) -> Config {
    let told = std::env::var("PROPTEST_CASES").ok();
    Config {
        cases: told.and_then(|told| told.parse().ok()).unwrap_or(cases),
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(regressions))),
        ..Config::default()
    }
}

/// With this bug, a sequence is found for which the test panics; the sequences are the same each time.
#[cfg(feature = "bugs")]
pub(crate) fn finds<S: proptest::strategy::Strategy>(bug: crate::bugs::Bug, sequences: S, test: impl Fn(S::Value)) {
    use proptest::test_runner::{RngAlgorithm, TestError, TestRng, TestRunner};

    let config = Config {
        cases: 2_000,
        max_shrink_iters: 0,
        failure_persistence: None,
        ..Config::default()
    };
    let tried = std::cell::Cell::new(0);
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    crate::bugs::set(Some(bug));
    let result = runner.run(&sequences, |sequence| {
        tried.set(tried.get() + 1);
        test(sequence);
        Ok(())
    });
    crate::bugs::set(None);
    assert!(matches!(result, Err(TestError::Fail(..))), "{bug:?} isn't found");
    println!("{bug:?}: found by sequence {}", tried.get());
}
