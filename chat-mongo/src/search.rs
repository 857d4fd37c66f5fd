//! Full-text search: the index gives the messages that hold a word, the newest first; the others are then looked for in
//! each of them.

use mongodb::bson::{Document, doc};
use roomcast_core::{HistoryPage, RoomHead, RoomId, StoreError};

use crate::database::{Database, next};
use crate::document::{EntryDocument, number};
use crate::words::{shorten, words};

/// The server needs no more words to choose by; further ones are looked for in what was found.
const WORDS_IN_QUERY: usize = 32;

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
        let mut seq = doc! {"$gt": number(floor)};
        if let Some(before) = before {
            seq.insert("$lt", number(before));
        }
        // The longest word is likely the rarest, and the server takes the first for its walk.
        let mut chosen: Vec<String> = wanted.iter().cloned().map(shorten).collect();
        chosen.sort_by_key(|word| std::cmp::Reverse(word.chars().count()));
        chosen.truncate(WORDS_IN_QUERY);
        let all: Vec<Document> = chosen.into_iter().map(|word| doc! {"words": word}).collect();
        let filter = doc! {"room_id": room.as_str(), "$and": all, "seq": seq};
        let mut session = self.session().await?;
        let find = self
            .entries
            .find(filter)
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
}
