//! Stores that are wrong on purpose: each mistake must be found, by the checks that are meant for it and by no others.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use roomcast_core::{
    Appended, Change, Entry, Epoch, HistoryPage, HistoryRange, LogPage, MemoryStore, Message, MessageId, MessageSearch,
    MessageStore, NewEntry, PageLimit, RoomHead, RoomId, RoomInfo, StoreError,
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
    fn new(inner: MemoryStore, mistake: Mistake) -> Arc<dyn MessageStore> {
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
        if let Some(head) = &mut head {
            if self.is(Mistake::HidesTheFloor) && head.head < 100 {
                head.floor = 0;
            }
            if let Some(epoch) = self.epochs.lock().get(room) {
                head.epoch = epoch.clone();
            }
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
        if self.is(Mistake::HidesTheFloor) && page.head < 100 {
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
        let search = self.inner.search().expect("the store in memory can search");
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
        Wrong::new(MemoryStore::new(), self.0)
    }

    async fn reopen(&self) -> Option<Arc<dyn MessageStore>> {
        None
    }

    async fn open_bounded(&self, entries: usize) -> Option<Arc<dyn MessageStore>> {
        Some(Wrong::new(MemoryStore::with_retention(entries), self.0))
    }
}

/// Runs every check, and compares the names of those that fail.
fn is_found_by(mistake: Mistake, expected: &[&str]) {
    let failed: Vec<_> = store::ALL
        .iter()
        .filter(|(_, check)| std::panic::catch_unwind(|| run(|| Harness(mistake), *check)).is_err())
        .map(|(name, _)| *name)
        .collect();
    assert_eq!(failed, expected, "{mistake:?}");
}

macro_rules! found {
    ($($test:ident: $mistake:ident by $($check:ident)+;)*) => {$(
        #[test]
        fn $test() {
            is_found_by(Mistake::$mistake, &[$(stringify!($check)),+]);
        }
    )*};
}

found! {
    a: LeavesAHole by x;
    b: IgnoresTheExpectedHead by x;
    c: ComparesTooEarly by x;
    d: ForgetsNonces by x;
    e: FoldsNonces by x;
    f: EditsKeepTheirText by x;
    g: DeletesContentOnly by x;
    h: PagesOverlap by x;
    i: AlwaysMore by x;
    j: GuessesMore by x;
    k: RenumbersHistory by x;
    l: ChangesTheEpoch by x;
    m: CutsBatches by x;
    n: CreatesRooms by x;
    o: NarrowSeqs by x;
    p: EndsAtNul by x;
    q: FloatsInData by x;
    r: SortsByCollation by x;
    s: NeverCloses by x;
    t: FindsAnyWord by x;
    u: HidesTheFloor by x;
}
