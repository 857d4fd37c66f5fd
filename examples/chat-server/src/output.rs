//! What the program says: lines on its output, and its log.

use std::error::Error;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// Prints a line. Whoever read our output may be gone, which is no reason to stop serving.
pub(crate) fn say(line: impl Display) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// Prints a line for people who look for errors.
pub(crate) fn complain(line: impl Display) {
    let _ = writeln!(io::stderr(), "chat-server: {line}");
}

/// Starts the log, as `CHAT_LOG` asks: on the standard error, in colours where that is a terminal.
pub(crate) fn start_log() -> Result<(), String> {
    let filter = match std::env::var("CHAT_LOG") {
        Ok(text) => filter(&text)?,
        Err(std::env::VarError::NotPresent) => filter("")?,
        Err(error) => return Err(format!("CHAT_LOG: {error}")),
    };
    let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(colours)
        .log_internal_errors(false)
        .init();
    Ok(())
}

fn filter(text: &str) -> Result<EnvFilter, String> {
    if text.trim().is_empty() {
        return Ok(EnvFilter::new("warn"));
    }
    let wrong = |what: &str| {
        format!(
            "CHAT_LOG is {text:?}, {what}; it is a level (error, warn, info, debug, trace, off) or a list as roomcast_core=debug,warn"
        )
    };
    // A lone word that is no level would be taken for the name of a module, and all others fall silent.
    let mut words = text.split(',').map(str::trim);
    if let Some(word) = words.find(|word| !word.contains(['=', '[', ':']) && word.parse::<LevelFilter>().is_err()) {
        return Err(wrong(&format!("and {word:?} is no level")));
    }
    EnvFilter::try_new(text).map_err(|error| wrong(&format!("which can't be read ({error})")))
}

/// An error and its causes in one line, without what a cause only says again.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut parts = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        match parts.last_mut() {
            Some(last) if last.ends_with(&text) => {}
            Some(last) if text.starts_with(&*last) => *last = text,
            _ => parts.push(text),
        }
        cause = error.source();
    }
    parts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Fault(&'static str, Option<Box<Fault>>);

    impl Display for Fault {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Fault {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|fault| fault as _)
        }
    }

    #[test]
    fn causes_are_not_said_twice() {
        for (texts, expected) in [
            (&["a", "b", "c"][..], "a: b: c"),
            (&["a", "a", "b"], "a: b"),
            (&["a: b", "b", "c"], "a: b: c"),
            (&["a", "a: b", "b"], "a: b"),
        ] {
            let chained = texts
                .iter()
                .rev()
                .fold(None, |below, text| Some(Box::new(Fault(text, below))))
                .unwrap();
            assert_eq!(chain(&*chained), expected);
        }
    }

    #[test]
    fn filters_are_read() {
        for good in [
            "",
            "debug",
            "INFO",
            "roomcast_core=debug,warn",
            "off",
            "hyper::proto=trace",
            "warn,[connection]=debug",
        ] {
            assert!(filter(good).is_ok(), "{good}");
        }
        for wrong in ["verbose", "roomcast_core=loud", "warn,wrn"] {
            let error = filter(wrong).unwrap_err();
            assert!(
                error.starts_with(&format!("CHAT_LOG is {wrong:?}, ")) && !error.contains('\n'),
                "{error}"
            );
        }
    }
}
