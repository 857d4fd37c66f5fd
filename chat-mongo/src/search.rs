//! Full-text search: the index gives the messages that hold one word, the rarest, from the newest on; the other words are
//! looked for in each of them.

use std::collections::BTreeSet;

use mongodb::bson::doc;
use mongodb::options::Hint;
use roomcast_core::{HistoryPage, MAX_SEQ, RoomHead, RoomId, StoreError};

use crate::database::{Database, WORDS, next};
use crate::document::{EntryDocument, number};
use crate::words::{shorten, words};

/// The server needs no more words to choose by; further ones are looked for in what was found.
const WORDS_IN_QUERY: usize = 32;

/// Of so many words it is counted how many messages hold them, up to this number.
const WORDS_COUNTED: usize = 8;
const COUNTED: u64 = 1000;

impl Database {
    pub(crate) async fn search(
        &self,
        room: &RoomId,
        text: &str,
        before: Option<u64>,
        limit: usize,
    ) -> Result<HistoryPage, StoreError> {
        let mut page = HistoryPage {
            messages: Vec::new(),
            more: false,
        };
        let wanted = words(text);
        if wanted.is_empty() {
            return Ok(page);
        }
        let Some(RoomHead { floor, .. }) = self.head(room).await? else {
            return Ok(page);
        };
        let newest = before.map_or(MAX_SEQ, |before| before.saturating_sub(1).min(MAX_SEQ));
        if newest <= floor {
            return Ok(page);
        }
        let Some((rarest, others)) = self.rarest_first(room, &wanted).await? else {
            return Ok(page);
        };
        // Only the rarest word decides where the index is walked along. The others are no conditions that an index could
        // answer, so that the server has no choice.
        let mut filter = doc! {
            "room_id": room.as_str(),
            "words": rarest,
            "seq": {"$gt": number(floor), "$lte": number(newest)},
        };
        if !others.is_empty() {
            filter.insert("$expr", doc! {"$setIsSubset": [others, "$words"]});
        }
        let mut session = self.session().await?;
        let find = self
            .entries
            .find(filter)
            .hint(Hint::Name(WORDS.to_owned()))
            .sort(doc! {"seq": -1})
            .projection(doc! {"words": 0})
            .session(&mut *session)
            .into_future();
        let mut cursor = self.read(find).await?;
        loop {
            let next = self.read(next(&mut cursor, &mut session)).await?;
            let Some(next) = next else { break };
            let message = EntryDocument::read(&next)?.into_message(room)?;
            let said = message.content.as_deref().map(words).unwrap_or_default();
            if !wanted.is_subset(&said) {
                continue;
            }
            if page.messages.len() >= limit {
                page.more = true;
                break;
            }
            page.messages.push(message);
        }
        Ok(page)
    }

    /// The word that the fewest messages of the room hold, and the others; `None` if there is a word that none holds.
    async fn rarest_first(
        &self,
        room: &RoomId,
        wanted: &BTreeSet<String>,
    ) -> Result<Option<(String, Vec<String>)>, StoreError> {
        let mut words: Vec<String> = wanted.iter().cloned().map(shorten).collect();
        // Where only some are counted, let it be long ones: they are likely rare.
        words.sort_by_key(|word| std::cmp::Reverse(word.chars().count()));
        words.truncate(WORDS_IN_QUERY);
        let (mut rarest, mut fewest) = (0, u64::MAX);
        for (at, word) in words.iter().enumerate().take(WORDS_COUNTED) {
            let mut session = self.session().await?;
            let count = self
                .entries
                .count_documents(doc! {"room_id": room.as_str(), "words": word})
                .hint(Hint::Name(WORDS.to_owned()))
                .limit(COUNTED)
                .session(&mut *session)
                .into_future();
            let count = self.read(count).await?;
            if count == 0 {
                return Ok(None);
            }
            if count < fewest {
                (rarest, fewest) = (at, count);
            }
        }
        let rarest = words.swap_remove(rarest);
        Ok(Some((rarest, words)))
    }
}
