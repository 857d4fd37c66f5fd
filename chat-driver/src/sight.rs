//! What a member has seen of its room, across all its connections: each entry once, in order, joined by its cursor.

use crate::frame::Frame;

/// What a member has seen of its room.
#[derive(Debug, Default)]
pub struct Sight {
    /// The log's epoch and the last seq that was seen of it.
    cursor: Option<(String, u64)>,
    /// Whether it is in the room now.
    pub inside: bool,
    /// Where the log stood when it came in: what is beyond is said live.
    head: u64,
}

impl Sight {
    /// What it comes back with.
    pub fn since(&self) -> Option<String> {
        let (epoch, seq) = self.cursor.as_ref()?;
        Some(format!("{epoch}:{seq}"))
    }

    /// The last number that it has seen.
    pub fn seq(&self) -> Option<u64> {
        self.cursor.as_ref().map(|(_, seq)| *seq)
    }

    /// The room as a `hello` or a `joined` tells of it.
    pub fn join(&mut self, room: &Frame) -> Result<(), String> {
        self.inside = true;
        self.head = room.head;
        match &self.cursor {
            None if room.resume == "fresh" => {
                self.cursor = Some((room.epoch.clone(), room.head));
                Ok(())
            }
            Some((epoch, seq)) if room.resume == "ok" && *epoch == room.epoch && *seq <= room.head => Ok(()),
            cursor => Err(format!(
                "came with {cursor:?} and was answered {:?}, head {} of {}",
                room.resume, room.head, room.epoch
            )),
        }
    }

    /// It left, or the connection ended.
    pub fn leave(&mut self) {
        self.inside = false;
    }

    /// An entry arrived. Tells whether it was live.
    pub fn entry(&mut self, seq: u64) -> Result<bool, String> {
        let Some((_, cursor)) = &mut self.cursor else {
            return Err(format!("saw {seq} before it was in the room"));
        };
        if !self.inside {
            return Err(format!("saw {seq} after it had left"));
        }
        let before = std::mem::replace(cursor, seq);
        if seq == before + 1 {
            Ok(seq > self.head)
        } else {
            Err(format!("saw {seq} after {before}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(resume: &str, head: u64) -> Frame {
        Frame {
            epoch: "e".into(),
            resume: resume.into(),
            head,
            ..Frame::default()
        }
    }

    #[test]
    fn each_entry_once_and_in_order() {
        let mut sight = Sight::default();
        sight.entry(8).expect_err("not in the room");
        sight.join(&room("fresh", 7)).unwrap();
        assert_eq!(sight.entry(8), Ok(true));
        sight.leave();
        sight.entry(9).expect_err("left");
        assert_eq!(sight.since().unwrap(), "e:8");
        sight.join(&room("ok", 11)).unwrap();
        assert_eq!(sight.entry(9), Ok(false));
        assert_eq!(sight.entry(10), Ok(false));
        assert_eq!(sight.entry(11), Ok(false));
        assert_eq!(sight.entry(12), Ok(true));
        assert_eq!(sight.entry(12).unwrap_err(), "saw 12 after 12");
        assert_eq!(sight.entry(14).unwrap_err(), "saw 14 after 12");
    }

    #[test]
    fn a_cursor_is_taken_or_it_is_wrong() {
        let mut sight = Sight::default();
        sight.join(&room("ok", 7)).expect_err("no cursor was given");
        let mut sight = Sight::default();
        sight.join(&room("fresh", 7)).unwrap();
        sight.join(&room("fresh", 7)).expect_err("a cursor was given");
        sight.join(&room("gap", 9)).expect_err("all is kept");
        sight.join(&room("ok", 6)).expect_err("the head was 7");
        sight.join(&room("ok", 7)).unwrap();
    }
}
