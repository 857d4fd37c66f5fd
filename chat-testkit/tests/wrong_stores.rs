//! Stores that are wrong on purpose: each mistake must be found, by the checks that are meant for it and by no others.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use roomcast_core::{
    Appended, Change, Entry, Epoch, HistoryPage, HistoryRange, LogPage, MemoryStore, Message, MessageId, MessageSearch,
    MessageStore, NewEntry, Nonce, PageLimit, RoomHead, RoomId, RoomInfo, Sent, StoreError, UserId,
};
use roomcast_testkit::{StoreHarness, async_trait, run, store};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Mistake {
    /// Every number above 3 is one too high, as if a counter had been bumped for an entry that was never written.
    LeavesAHole,
    /// Reads the head itself instead of comparing it.
    IgnoresTheExpectedHead,
    /// Compares the head some time before it appends.
    ComparesTooEarly,
    /// Looks for nonces no longer back than the batch.
    ForgetsNonces,
    /// Knows the nonces of what was deleted no longer.
    ForgetsDeletedNonces,
    /// Folds the case of nonces, as a collation does.
    FoldsNonces,
    /// An edit entry keeps the text that it came with.
    EditsKeepTheirText,
    /// A deletion leaves the data.
    DeletesContentOnly,
    /// A page begins with the entry after which it should begin, unless that is 0.
    PagesOverlap,
    /// There is always more.
    AlwaysMore,
    /// `more` is guessed from a page being full.
    GuessesMore,
    /// Counts messages instead of using the numbers of the log.
    RenumbersHistory,
    /// The last epoch wins.
    ChangesTheEpoch,
    /// Each append may add this many entries at most, silently.
    CutsBatches,
    /// Begins a room when something is appended to it.
    CreatesRooms,
    /// Computes with seqs in 32 bits.
    NarrowSeqs,
    /// Ends texts at a NUL.
    EndsAtNul,
    /// Takes numbers in data for floats.
    FloatsInData,
    /// Lists rooms without regard to case.
    SortsByCollation,
    /// Goes on after a close.
    NeverCloses,
    /// Finds any of the words.
    FindsAnyWord,
    /// Retention removes without saying so.
    HidesTheFloor,
}

struct Wrong {
    inner: MemoryStore,
    mistake: Mistake,
    epochs: Mutex<HashMap<RoomId, Epoch>>,
    /// The text and the data of each edit and message, as they came.
    given: Mutex<HashMap<MessageId, Change>>,
}

impl Wrong {
    fn open(inner: MemoryStore, mistake: Mistake) -> Arc<dyn MessageStore> {
        Arc::new(Self {
            inner,
            mistake,
            epochs: Mutex::default(),
            given: Mutex::default(),
        })
    }

    fn is(&self, mistake: Mistake) -> bool {
        self.mistake == mistake
    }

    fn shown(&self, mut message: Message) -> Message {
        if self.is(Mistake::DeletesContentOnly)
            && message.deleted
            && let Some(Change::Message { data, .. }) = self.given.lock().get(&message.id)
        {
            message.data.clone_from(data);
        }
        if self.is(Mistake::EndsAtNul)
            && let Some(content) = &mut message.content
            && let Some(end) = content.find('\0')
        {
            content.truncate(end);
        }
        if self.is(Mistake::FloatsInData)
            && let Some(data) = &mut message.data
        {
            data.values_mut().for_each(to_float);
        }
        message
    }

    fn shown_entry(&self, entry: Entry) -> Entry {
        match entry {
            Entry::Message(mut message) => {
                if self.is(Mistake::LeavesAHole) && message.seq > 3 {
                    message.seq += 1;
                }
                Entry::Message(self.shown(message))
            }
            Entry::Edit(mut edit) => {
                if self.is(Mistake::EditsKeepTheirText)
                    && let Some(Change::Edit { content, .. }) = self.given.lock().get(&edit.id)
                {
                    edit.content = Some(content.clone());
                }
                Entry::Edit(edit)
            }
            other => other,
        }
    }
}

fn to_float(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Number(number) => *value = number.as_f64().into(),
        serde_json::Value::Array(values) => values.iter_mut().for_each(to_float),
        serde_json::Value::Object(values) => values.values_mut().for_each(to_float),
        _ => {}
    }
}

#[async_trait]
impl MessageStore for Wrong {
    async fn room(&self, room: &RoomId) -> Result<Option<RoomHead>, StoreError> {
        let mut head = self.inner.room(room).await?;
        if let Some(head) = &mut head
            && let Some(epoch) = self.epochs.lock().get(room)
        {
            head.epoch = epoch.clone();
        }
        Ok(head)
    }

    async fn create_room(&self, room: &RoomId, epoch: Epoch) -> Result<RoomHead, StoreError> {
        self.inner.create_room(room, epoch.clone()).await?;
        if self.is(Mistake::ChangesTheEpoch) {
            self.epochs.lock().insert(room.clone(), epoch);
        }
        Ok(self.room(room).await?.expect("just created"))
    }

    async fn rooms(&self, after: Option<&RoomId>, limit: usize) -> Result<Vec<RoomInfo>, StoreError> {
        let mut rooms = self.inner.rooms(after, limit).await?;
        if self.is(Mistake::SortsByCollation) {
            rooms.sort_by_key(|room| room.id.as_str().to_lowercase());
        }
        Ok(rooms)
    }

    async fn append(&self, room: &RoomId, expected: u64, entries: &[NewEntry]) -> Result<Appended, StoreError> {
        let mut entries = entries.to_vec();
        let mut head = expected;
        for entry in &mut entries {
            self.given.lock().insert(entry.id, entry.change.clone());
            if let Change::Message { nonce, .. } = &mut entry.change {
                match self.mistake {
                    Mistake::ForgetsNonces if entries_before(expected) => *nonce = None,
                    Mistake::FoldsNonces => {
                        if let Some((nonce, _)) = nonce {
                            *nonce = nonce.as_str().to_lowercase().parse().unwrap();
                        }
                    }
                    _ => {}
                }
            }
        }
        match self.mistake {
            Mistake::IgnoresTheExpectedHead => {
                head = self.inner.room(room).await?.map_or(0, |head| head.head);
            }
            Mistake::ComparesTooEarly => {
                let now = self.inner.room(room).await?.map_or(0, |head| head.head);
                if now == expected {
                    tokio::time::sleep(std::time::Duration::from_micros(300)).await;
                    head = self.inner.room(room).await?.map_or(0, |head| head.head);
                }
            }
            Mistake::CutsBatches => entries.truncate(500),
            Mistake::CreatesRooms => {
                self.inner.create_room(room, Epoch::new("made-up").unwrap()).await?;
            }
            _ => {}
        }
        self.inner.append(room, head, &entries).await
    }

    async fn log(&self, room: &RoomId, mut after: u64, limit: PageLimit) -> Result<LogPage, StoreError> {
        match self.mistake {
            Mistake::PagesOverlap => after = after.saturating_sub(1),
            Mistake::NarrowSeqs => after &= u64::from(u32::MAX),
            _ => {}
        }
        let mut page = self.inner.log(room, after, limit).await?;
        page.entries = page.entries.into_iter().map(|entry| self.shown_entry(entry)).collect();
        if self.is(Mistake::HidesTheFloor) {
            page.floor = 0;
        }
        Ok(page)
    }

    async fn history(&self, room: &RoomId, range: HistoryRange, limit: usize) -> Result<HistoryPage, StoreError> {
        let mut page = self.inner.history(room, range, limit).await?;
        page.messages = page.messages.into_iter().map(|message| self.shown(message)).collect();
        match self.mistake {
            Mistake::AlwaysMore => page.more = true,
            Mistake::GuessesMore => page.more |= page.messages.len() == limit,
            Mistake::RenumbersHistory => {
                let all = self.inner.history(room, HistoryRange::After(0), usize::MAX).await?;
                for message in &mut page.messages {
                    let place = all.messages.iter().position(|other| other.id == message.id);
                    message.seq = place.map_or(0, |place| place as u64 + 1);
                }
            }
            _ => {}
        }
        Ok(page)
    }

    async fn message(&self, room: &RoomId, id: MessageId) -> Result<Option<Message>, StoreError> {
        Ok(self.inner.message(room, id).await?.map(|message| self.shown(message)))
    }

    async fn sent(&self, room: &RoomId, user: &UserId, nonce: &Nonce) -> Result<Option<Sent>, StoreError> {
        let Some(sent) = self.inner.sent(room, user, nonce).await? else {
            return Ok(None);
        };
        let message = self.inner.message(room, sent.id).await?;
        let deleted = message.is_some_and(|message| message.deleted);
        Ok((!deleted || self.mistake != Mistake::ForgetsDeletedNonces).then_some(sent))
    }

    async fn health(&self) -> Result<(), StoreError> {
        self.inner.health().await
    }

    async fn close(&self) -> Result<(), StoreError> {
        match self.mistake {
            Mistake::NeverCloses => Ok(()),
            _ => self.inner.close().await,
        }
    }

    fn search(&self) -> Option<&dyn MessageSearch> {
        Some(self)
    }
}

/// Whether there was anything before, in which a nonce might be.
fn entries_before(expected: u64) -> bool {
    expected > 0
}

#[async_trait]
impl MessageSearch for Wrong {
    async fn search(
        &self,
        room: &RoomId,
        query: &str,
        before: Option<u64>,
        limit: usize,
    ) -> Result<HistoryPage, StoreError> {
        let search = MessageStore::search(&self.inner).expect("the store in memory can search");
        let mut page = search.search(room, query, before, limit).await?;
        if self.is(Mistake::FindsAnyWord) && page.messages.is_empty() {
            for word in query.split_whitespace().take(1) {
                page = search.search(room, word, before, limit).await?;
            }
        }
        page.messages = page.messages.into_iter().map(|message| self.shown(message)).collect();
        Ok(page)
    }
}

struct Harness(Mistake);

#[async_trait]
impl StoreHarness for Harness {
    async fn open(&self) -> Arc<dyn MessageStore> {
        Wrong::open(MemoryStore::new(), self.0)
    }

    async fn reopen(&self) -> Option<Arc<dyn MessageStore>> {
        None
    }

    async fn open_bounded(&self, entries: usize) -> Option<Arc<dyn MessageStore>> {
        Some(Wrong::open(MemoryStore::with_retention(entries), self.0))
    }
}

/// The names of the checks that fail.
fn failing(mistake: Mistake) -> Vec<&'static str> {
    store::ALL
        .iter()
        .filter(|(_, check)| std::panic::catch_unwind(|| run(|| Harness(mistake), *check)).is_err())
        .map(|(name, _)| *name)
        .collect()
}

macro_rules! found {
    ($($test:ident: $mistake:ident $expected:tt;)*) => {$(
        #[test]
        fn $test() {
            let failing = failing(Mistake::$mistake);
            found!(@ failing $expected);
        }
    )*};
    (@ $failing:ident [$($check:ident)+]) => {
        assert_eq!($failing, [$(stringify!($check)),+]);
    };
    // For a mistake that nearly everything stumbles upon, or that shows by chance.
    (@ $failing:ident (at least $($check:ident)+)) => {
        $(assert!($failing.contains(&stringify!($check)), "{:?}", $failing);)+
    };
}

found! {
    a_hole_is_found: LeavesAHole (at least
        appends_are_numbered_densely_from_1
        eight_writers_share_a_room
        log_pages_hold_what_was_asked_for
    );
    an_ignored_head_is_found: IgnoresTheExpectedHead [
        another_head_than_expected_stores_nothing
        one_writer_wins_each_place
    ];
    an_early_comparison_is_found: ComparesTooEarly (at least one_writer_wins_each_place);
    forgotten_nonces_are_found: ForgetsNonces [
        a_nonce_is_stored_once_in_a_race
        a_repeated_nonce_gets_the_first_place
        a_nonce_with_other_content_conflicts
        nonces_belong_to_a_user_and_a_room
        nonces_are_compared_exactly
        a_tombstone_keeps_its_nonce
        what_is_not_stored_takes_no_number
        a_dropped_append_leaves_a_prefix
    ];
    forgotten_nonces_of_tombstones_are_found: ForgetsDeletedNonces [a_tombstone_keeps_its_nonce];
    folded_nonces_are_found: FoldsNonces [nonces_are_compared_exactly];
    edits_that_keep_their_text_are_found: EditsKeepTheirText [
        an_edit_shows_in_every_reading
        what_was_deleted_is_given_out_nowhere
        a_message_is_changed_within_its_own_append
    ];
    half_a_deletion_is_found: DeletesContentOnly [what_was_deleted_is_given_out_nowhere];
    overlapping_pages_are_found: PagesOverlap [
        a_thousand_entries_go_into_one_append
        reads_follow_writes
        log_pages_hold_what_was_asked_for
        a_log_page_holds_at_least_one_entry
        a_log_of_many_pages_is_read_whole
    ];
    endless_history_is_found: AlwaysMore [
        history_pages_hold_what_was_asked_for
        a_large_history_is_read_whole_from_both_ends
        an_unknown_room_is_empty_and_takes_nothing
        what_retention_removed_is_forgotten
    ];
    a_guessed_end_is_found: GuessesMore [history_pages_hold_what_was_asked_for];
    renumbered_history_is_found: RenumbersHistory [
        an_edit_shows_in_every_reading
        history_pages_hold_what_was_asked_for
        a_large_history_is_read_whole_from_both_ends
        what_retention_removed_is_forgotten
    ];
    a_changing_epoch_is_found: ChangesTheEpoch [
        a_room_keeps_its_first_epoch
        a_race_to_create_a_room_has_one_epoch
        a_dropped_create_room_can_be_repeated
    ];
    a_cut_batch_is_found: CutsBatches [a_thousand_entries_go_into_one_append];
    an_invented_room_is_found: CreatesRooms [an_unknown_room_is_empty_and_takes_nothing];
    narrow_numbers_are_found: NarrowSeqs [log_pages_hold_what_was_asked_for];
    a_cut_text_is_found: EndsAtNul [any_text_is_kept any_text_is_kept_by_an_edit];
    numbers_made_floats_are_found: FloatsInData [an_edit_keeps_data_and_reply any_data_is_kept];
    a_collation_is_found: SortsByCollation [rooms_are_listed_in_order];
    an_open_end_is_found: NeverCloses [a_closed_store_refuses];
    a_loose_search_is_found: FindsAnyWord [search_finds_all_the_words search_has_no_operators];
    a_hidden_floor_is_found: HidesTheFloor [retention_removes_the_oldest];
}
