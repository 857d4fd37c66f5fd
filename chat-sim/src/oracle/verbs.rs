//! Promise 11: what the embedding server does and asks by itself follows the same rules: what it is told is stored is, it sees
//! what the user may see and no more, and a search finds what there is, with its newest content.

use roomcast_core::{Limits, search_words};

use super::deleted::is_true;
use super::durable::is_stored;
use super::facts::{Answer, Ask, Call, Change, Facts, Level, Log, Text};
use super::{Event, Promise};
use crate::frame::Frame;

pub(crate) struct Verbs {
    limits: Limits,
}

impl Verbs {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits }
    }
}

impl Promise for Verbs {
    fn name(&self) -> &'static str {
        "the server's own verbs"
    }

    fn see(&mut self, event: &Event<'_>, facts: &Facts) -> Result<(), String> {
        let Event::Told { call, answer } = event else {
            return Ok(());
        };
        let call = &facts.calls[*call];
        let checked =
            match (&call.ask, answer) {
                (_, Answer::Refused(code)) => self.refused(call, code, facts),
                (
                    Ask::Send { nonce: None, .. } | Ask::Edit { .. } | Ask::Delete { .. },
                    Answer::Stored { dup: true, .. },
                ) => Err("nothing says that it was stored before".to_owned()),
                (ask, Answer::Stored { msg, seq, .. }) => permitted(call, Level::Live, facts).and_then(|()| {
                    match is_stored(&call.user, &call.room, ask, call.own, msg, *seq, facts) {
                        true => Ok(()),
                        false => Err(format!("stored is {:?}", facts.log(&call.room)?.record(*seq))),
                    }
                }),
                (Ask::History, Answer::Page { messages, .. }) => permitted(call, Level::History, facts)
                    .and_then(|()| history(call, messages, facts.log(&call.room)?)),
                (Ask::Search { query, before, limit }, Answer::Page { messages, more }) => {
                    let asked = Search {
                        words: search_words(query).collect(),
                        before: before.unwrap_or(u64::MAX),
                        limit: *limit,
                    };
                    permitted(call, Level::History, facts)
                        .and_then(|()| found(call, &asked, messages, *more, facts.log(&call.room)?))
                }
                (Ask::Head, Answer::Head { epoch, head, floor }) => {
                    let log = facts.log(&call.room)?;
                    let same = *epoch == log.epoch && *head <= log.head() && *floor <= log.floor;
                    let exact = *head == log.head() && *floor == log.floor;
                    match same && (exact || log.changed > call.asked) {
                        true => Ok(()),
                        false => Err(format!("the log is at {}, floor {}", log.head(), log.floor)),
                    }
                }
                _ => Err("that is no answer to this".to_owned()),
            };
        checked.map_err(|why| format!("{call:?} was answered {answer:?}: {why}"))
    }
}

impl Verbs {
    /// Whether there is a reason to refuse the call.
    fn refused(&self, call: &Call, code: &str, facts: &Facts) -> Result<(), String> {
        let hub = &facts.hubs[call.hub];
        let log = facts.logs.get(&call.room);
        let gone = |msg: &String| log.is_none_or(|log| log.is_gone(msg));
        let good = match (code, &call.ask) {
            ("killed", _) => true,
            ("unavailable", _) => {
                let took = facts.now.at.saturating_sub(call.asked.at);
                hub.draining.is_some() || hub.fault > call.asked || took >= self.limits.commit
            }
            ("forbidden", ask) => {
                let reads = matches!(ask, Ask::History | Ask::Search { .. });
                let level = if reads { Level::History } else { Level::Live };
                !call.own && facts.lacked(&call.user, &call.room, level, call.asked)
            }
            ("unknown_room", _) => log.is_none_or(|log| log.changed > call.asked),
            ("not_found", Ask::Edit { msg, .. } | Ask::Delete { msg }) => gone(msg),
            ("not_found", Ask::Send { said, .. }) => said.reply_to.as_ref().is_some_and(gone),
            _ => false,
        };
        match good {
            true => Ok(()),
            false => Err("there is no reason for that".to_owned()),
        }
    }
}

/// Whether the user had the right to it at some moment between question and answer.
fn permitted(call: &Call, level: Level, facts: &Facts) -> Result<(), String> {
    let may = |level| facts.had(&call.user, &call.room, level, call.asked);
    match call.own || may(Level::Live) && may(level) {
        true => Ok(()),
        false => Err(format!("no {level:?} since {:?}", call.asked)),
    }
}

fn history(call: &Call, messages: &[Frame], log: &Log) -> Result<(), String> {
    if !messages.is_sorted_by(|a, b| a.seq < b.seq) {
        return Err("they don't rise".to_owned());
    }
    match messages
        .iter()
        .find(|message| !is_true(log, message, |until| until > call.asked))
    {
        None => Ok(()),
        Some(message) => Err(format!("{} was not so any more", message.seq)),
    }
}

/// What is searched for.
struct Search {
    words: Vec<String>,
    before: u64,
    limit: usize,
}

impl Search {
    fn matches(&self, seq: u64, text: Option<&str>) -> bool {
        let said: Vec<String> = search_words(text.unwrap_or_default()).collect();
        seq < self.before && self.words.iter().all(|word| said.contains(word))
    }
}

fn found(call: &Call, search: &Search, messages: &[Frame], more: bool, log: &Log) -> Result<(), String> {
    if !messages.is_sorted_by(|a, b| a.seq > b.seq) || messages.len() > search.limit {
        return Err("they don't fall, or are too many".to_owned());
    }
    let good = |message: &&Frame| {
        !message.deleted
            && search.matches(message.seq, message.content.as_deref())
            && is_true(log, message, |until| until > call.asked)
    };
    if let Some(message) = messages.iter().find(|message| !good(message)) {
        return Err(format!("{} is not to be found", message.seq));
    }
    if log.changed > call.asked {
        return Ok(());
    }
    // Nothing came between, so it is known exactly.
    let mut all = (log.floor + 1..=log.head()).rev().filter(|seq| {
        let Some(Change::Message { versions, .. }) = log.record(*seq).map(|record| &record.change) else {
            return false;
        };
        matches!(versions.last(), Some((_, Text::Is(text))) if search.matches(*seq, text.as_deref()))
    });
    let expected: Vec<u64> = all.by_ref().take(search.limit).collect();
    let further = all.next().is_some();
    match messages.iter().map(|message| message.seq).eq(expected.iter().copied()) && more == further {
        true => Ok(()),
        false => Err(format!("there is {expected:?}, further {further}")),
    }
}
