//! What a notice tells of who is in a room, as the simulation reads it.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use super::Parcel;
use crate::oracle::HubId;

#[derive(Debug)]
pub(crate) struct Tells {
    pub(crate) from: HubId,
    pub(crate) room: String,
    pub(crate) no: u64,
    pub(crate) lasts: Duration,
    /// The ids of which all are named that are there: after the one, up to the other.
    span: Option<(Option<String>, Option<String>)>,
    pub(crate) here: BTreeSet<String>,
    pub(crate) left: BTreeSet<String>,
}

impl Parcel {
    /// What it tells of who is in a room.
    pub(crate) fn tells(&self) -> Option<Tells> {
        let Self::Notice { from, bytes, .. } = self else {
            return None;
        };
        let mut lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let head: Value = serde_json::from_slice(lines.next()?).ok()?;
        if head["t"] != "presence" {
            return None;
        }
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let span = head.get("span").map(|span| (text(&span["after"]), text(&span["to"])));
        let mut tells = Tells {
            from: *from,
            room: text(&head["room"])?,
            no: head["no"].as_u64()?,
            lasts: Duration::from_millis(head["for_ms"].as_u64()?),
            span,
            here: BTreeSet::new(),
            left: BTreeSet::new(),
        };
        for line in lines {
            let line: Value = serde_json::from_slice(line).ok()?;
            tells.here.extend(text(&line["here"]["id"]));
            tells.left.extend(text(&line["left"]));
        }
        Some(tells)
    }
}

impl Tells {
    /// Whether the user would be named if it were there.
    pub(crate) fn covers(&self, user: &str) -> bool {
        let Some((after, to)) = &self.span else { return false };
        after.as_deref().is_none_or(|after| user > after) && to.as_deref().is_none_or(|to| user <= to)
    }
}
