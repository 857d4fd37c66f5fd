//! What is in the logs in the end, on each node, held against what clients saw and were told.

use std::collections::HashSet;
use std::net::SocketAddr;

use chat_driver::frame::message_id;
use chat_driver::http::get;
use serde_json::Value;

use super::book::{Fate, Said, Seen, number};

/// A message as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    seq: u64,
    message: u128,
    /// What its content begins with.
    number: usize,
    user: String,
}

/// The last number of each room, as a server says.
pub(crate) async fn heads(address: SocketAddr, rooms: &[String]) -> Result<Vec<u64>, String> {
    let answer = get(address, "/api/rooms?user=auditor").await?.expect(200)?.json()?;
    let found = answer["rooms"].as_array().ok_or("no rooms")?;
    let head = |id: &String| found.iter().find(|room| room["id"] == **id)?["head"].as_u64();
    Ok(rooms.iter().map(|id| head(id).unwrap_or(0)).collect())
}

/// A room's whole history, page by page.
pub(crate) async fn history(address: SocketAddr, room: &str) -> Result<Vec<Stored>, String> {
    let mut log: Vec<Stored> = Vec::new();
    loop {
        let after = log.last().map_or(0, |last| last.seq);
        // A user of its own for each page, since nobody may ask that often.
        let path = format!("/api/rooms/{room}/messages?after={after}&limit=200&user=auditor-{after}");
        let page = get(address, &path).await?.expect(200)?.json()?;
        for message in page["messages"].as_array().ok_or("no messages")? {
            log.push(stored(message).ok_or_else(|| format!("a message that nobody said: {message}"))?);
        }
        if page["more"] != true {
            return Ok(log);
        }
        if log.last().is_none_or(|last| last.seq == after) {
            return Err(format!("a page after {after} is empty, and there is said to be more"));
        }
    }
}

fn stored(message: &Value) -> Option<Stored> {
    Some(Stored {
        seq: message["seq"].as_u64()?,
        message: message_id(message["id"].as_str()?)?,
        number: number(message["content"].as_str())?,
        user: message["user"]["id"].as_str()?.to_owned(),
    })
}

/// What is wrong with a room's log: numbers that aren't contiguous, what is there twice, or was refused, or never said; what was seen
/// or acknowledged and isn't there. `said` is all that was said in any room.
pub(crate) fn faults(room: usize, log: &[Stored], seen: &[Seen], said: &[Said]) -> Vec<String> {
    let mut faults = Vec::new();
    if let Some((stored, expected)) = log.iter().zip(1..).find(|(stored, expected)| stored.seq != *expected) {
        faults.push(format!("{} stands where {expected} has to", stored.seq));
    }
    let place = |seq: u64| usize::try_from(seq).ok().and_then(|seq| log.get(seq.checked_sub(1)?));
    for (seq, seen) in (0_u64..).zip(seen) {
        let stored = place(seq).map(|stored| (stored.message, stored.number));
        if seen.is_some() && *seen != stored {
            faults.push(format!("{seq} was seen as {seen:?} and is stored as {stored:?}"));
        }
    }
    let mut numbers = HashSet::new();
    for stored in log {
        if !numbers.insert(stored.number) {
            faults.push(format!("stored twice: {stored:?}"));
        }
        match said.get(stored.number) {
            Some(said) if said.room != room || *said.user != stored.user => {
                faults.push(format!("stored is {stored:?}, and said was {said:?}"));
            }
            Some(said) if said.fate == Fate::Refused => faults.push(format!("refused, and stored: {stored:?}")),
            Some(_) => {}
            None => faults.push(format!("stored, and never said: {stored:?}")),
        }
    }
    for (number, said) in said.iter().enumerate().filter(|(_, said)| said.room == room) {
        if let Fate::Acked { seq, message } = said.fate {
            let stored = place(seq);
            if stored.is_none_or(|stored| (stored.message, stored.number) != (message, number)) {
                faults.push(format!(
                    "message {number} was acknowledged as {seq}, where there is {stored:?}"
                ));
            }
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::time::Instant;

    use super::super::book::Book;
    use super::*;

    fn stored(seq: u64, message: u128, number: usize) -> Stored {
        Stored {
            seq,
            message,
            number,
            user: "ann".into(),
        }
    }

    /// Messages 0 and 1 were acknowledged, 2 was refused, of 3 nobody knows.
    fn said() -> Vec<Said> {
        let book = Book::new(([127, 0, 0, 1], 1).into(), vec!["r".into()]);
        let ann: Arc<str> = "ann".into();
        for _ in 0..4 {
            let number = book.say(0, &ann);
            book.sent(number, Some(0));
        }
        book.acked(0, 1, 70, false);
        book.acked(1, 2, 80, false);
        book.refused(2);
        book.said.into_inner()
    }

    fn found(log: &[Stored], seen: &[Seen]) -> Vec<String> {
        faults(0, log, seen, &said())
    }

    #[test]
    fn a_good_log_is_good() {
        let log = [stored(1, 70, 0), stored(2, 80, 1)];
        let seen = [None, Some((70, 0)), None];
        assert_eq!(found(&log, &seen), [""; 0]);
        // Whoever said it left before the ack.
        let log = [stored(1, 70, 0), stored(2, 80, 1), stored(3, 90, 3)];
        assert_eq!(found(&log, &seen), [""; 0]);
    }

    #[test]
    fn what_is_lost_or_doubled_or_elsewhere_is_found() {
        let good = || vec![stored(1, 70, 0), stored(2, 80, 1)];
        let mut wrong = vec![good(); 6];
        wrong[0].pop();
        wrong[1].push(stored(4, 90, 3));
        wrong[2].push(stored(3, 90, 2));
        wrong[3].push(stored(3, 90, 1));
        wrong[4].push(stored(3, 90, 9));
        wrong[5][0].user = "ben".into();
        for log in &wrong {
            assert_eq!(found(log, &[]).len(), 1, "{log:?}: {:?}", found(log, &[]));
        }
        assert_eq!(found(&good(), &[None, Some((71, 0))]).len(), 1);
        assert_eq!(found(&good(), &[None, None, None, Some((90, 3))]).len(), 1);
        assert_eq!(faults(1, &good(), &[], &said()).len(), 2, "it is another room");
    }

    #[test]
    fn a_repetition_of_what_was_sent_once_is_wrong() {
        let book = Book::new(([127, 0, 0, 1], 1).into(), vec!["r".into()]);
        let ann: Arc<str> = "ann".into();
        let number = book.say(0, &ann);
        book.sent(number, Some(0));
        let before = Instant::now();
        book.acked(number, 1, 70, true);
        assert!(before.elapsed().as_secs() < 5);
        let all = super::super::book::Check::ALL;
        assert!(!book.verdict.print(&all, "nothing"));
    }
}
