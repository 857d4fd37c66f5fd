//! When a message was due to be said: it stands at the beginning of its content, so that whoever hears it knows how late it is.

/// Digits of the time, in nanoseconds on the clock of who says it and hears it.
const DIGITS: usize = 16;

/// A content of this length, or a little longer if that is too short for a time.
pub(crate) fn content(due: u64, length: usize) -> String {
    let filling = length.saturating_sub(DIGITS);
    format!("{due:0DIGITS$x}{}", "x".repeat(filling))
}

/// When a message was due, as it says itself.
pub(crate) fn due(message: &[u8]) -> Option<u64> {
    const NAME: &[u8] = br#""content":""#;
    let at = message.windows(NAME.len()).position(|bytes| bytes == NAME)? + NAME.len();
    u64::from_str_radix(std::str::from_utf8(message.get(at..at + DIGITS)?).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_says_when_it_was_due() {
        let message = format!(r#"{{"seq":1,"content":"{}"}}"#, content(255, 100));
        assert_eq!(due(message.as_bytes()), Some(255));
        assert_eq!(content(255, 100).len(), 100);
        assert_eq!(due(br#"{"seq":1,"content":"short"}"#), None);
        assert_eq!(due(b"{}"), None);
    }
}
