//! Known bugs as switches, to prove that the tests find them; see the module of this name in the core.

/// Whether this thread has the bug. Without the feature `bugs`, `false`.
macro_rules! bug {
    ($name:ident) => {{
        #[cfg(feature = "bugs")]
        let on = roomcast_core::bugs::is(roomcast_core::bugs::Bug::$name);
        #[cfg(not(feature = "bugs"))]
        let on = false;
        on
    }};
}
pub(crate) use bug;
