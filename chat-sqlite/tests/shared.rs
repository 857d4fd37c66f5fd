//! Several stores on one file, as several processes have them: the index of words is sound, and holds what the messages
//! say, no less and no more.

mod common;

use std::collections::BTreeSet;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::{delete, edit, epoch, room, say, secret};
use parking_lot::Mutex;
use roomcast_core::{MessageId, MessageStore, NewEntry, Outcome, RoomId, search_words};
use roomcast_sqlite::{Retention, SqliteStore, Synchronous};
use rusqlite::Connection;
use tokio::task::JoinSet;

/// For how long the stores are written to; `ROOMCAST_STRESS_SECONDS` and `ROOMCAST_STRESS_SEED` say otherwise. The seed
/// decides what is done, not in which order.
const SECONDS: u64 = 4;

const ROOMS: usize = 3;

/// Numbers that look random: SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    fn one_in(&mut self, number: u64) -> bool {
        self.below(number) == 0
    }

    fn fork(&mut self) -> Self {
        Self(self.below(u64::MAX))
    }

    /// Some usual words, mostly a rare one, and now and then one that is longer than a page of the index.
    fn text(&mut self) -> String {
        let mut text = String::new();
        for _ in 0..self.below(12) {
            let most = self.below(30) + 1;
            text.push_str(&format!("w{} ", self.below(most)));
        }
        if !self.one_in(3) {
            text.push_str(&secret(self.below(5000)));
        }
        if self.one_in(200) {
            text.push_str(&format!(" {}{}", "long".repeat(1500), self.below(5)));
        }
        text
    }
}

fn nth(number: usize) -> RoomId {
    room(&format!("r{number}"))
}

/// What all who write know.
#[derive(Default)]
struct Known {
    messages: [Mutex<Vec<MessageId>>; ROOMS],
    stop: AtomicBool,
}

impl Known {
    /// Messages, edits and deletions.
    fn entries(&self, number: usize, random: &mut Random) -> Vec<NewEntry> {
        let count = match random.below(20) {
            0 => 400,
            1..5 => 20,
            _ => 1,
        };
        let changes = if random.one_in(3) { 3 } else { 20 };
        let known = self.messages[number].lock();
        (0..count)
            .map(|_| {
                let among = known.len().min(if random.one_in(4) { 4000 } else { 100 });
                let back = (among > 0).then(|| 1 + random.below(among as u64) as usize);
                match (back, random.below(changes)) {
                    (Some(back), 0) => delete(known[known.len() - back]),
                    (Some(back), 1) => edit(known[known.len() - back], &random.text()),
                    _ => say(&random.text()),
                }
            })
            .collect()
    }
}

/// Appends, wherever the head is, whoever else writes there.
async fn append(store: &SqliteStore, room: &RoomId, entries: &[NewEntry]) -> Vec<Outcome> {
    let mut head = store.room(room).await.unwrap().unwrap().head;
    loop {
        let appended = store.append(room, head, entries).await.unwrap();
        if !appended.outcomes.is_empty() {
            return appended.outcomes;
        }
        head = appended.head;
    }
}

/// Writes and searches until it is time. Tells how often.
async fn work(store: Arc<SqliteStore>, known: Arc<Known>, mut random: Random, until: Instant) -> u64 {
    let mut calls = 0;
    while Instant::now() < until {
        calls += 1;
        let number = random.below(ROOMS as u64) as usize;
        if random.one_in(8) {
            let word = format!("w{}", random.below(30));
            let search = MessageStore::search(&*store).unwrap();
            for message in search.search(&nth(number), &word, None, 50).await.unwrap().messages {
                assert!(search_words(&message.content.unwrap()).any(|said| said == word));
            }
            continue;
        }
        let entries = known.entries(number, &mut random);
        let outcomes = append(&store, &nth(number), &entries).await;
        let mut messages = known.messages[number].lock();
        for (entry, outcome) in entries.iter().zip(&outcomes) {
            if matches!(outcome, Outcome::Stored { target: None, .. }) {
                messages.push(entry.id);
            }
        }
    }
    calls
}

/// What a process does, as far as the file can tell: opens a store for a while, with some retention, again and again.
async fn process(path: Arc<Path>, known: Arc<Known>, mut random: Random) -> u64 {
    let mut calls = 0;
    while !known.stop.load(Ordering::Relaxed) {
        let retention = Retention {
            max_entries: random.one_in(2).then(|| 1 + random.below(3000)),
            max_age: random.one_in(3).then(|| Duration::from_millis(1 + random.below(500))),
        };
        let store = SqliteStore::builder(&*path)
            .synchronous(Synchronous::Normal)
            .busy_timeout(Duration::from_secs(60))
            .retention(retention);
        let store = Arc::new(store.open().await.unwrap());
        let until = Instant::now() + Duration::from_millis(50 + random.below(2000));
        let mut workers = JoinSet::new();
        for _ in 0..=random.below(3) {
            workers.spawn(work(store.clone(), known.clone(), random.fork(), until));
        }
        calls += workers.join_all().await.iter().sum::<u64>();
        if random.one_in(2) {
            // For what is done when nothing else is.
            tokio::time::sleep(Duration::from_millis(random.below(300))).await;
        }
        store.close().await.unwrap();
    }
    calls
}

fn checker(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.busy_timeout(Duration::from_secs(60)).unwrap();
    let sql = "CREATE VIRTUAL TABLE temp.held USING fts5vocab (main, words, instance)";
    connection.execute_batch(sql).unwrap();
    connection
}

/// Compares the index with the messages, and itself with its rules, at one moment. Tells how many words it holds.
fn check(connection: &mut Connection) -> Result<usize, Box<dyn Error + Send + Sync>> {
    let moment = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    moment.execute("INSERT INTO words (words) VALUES ('integrity-check')", [])?;
    let sound: String = moment.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    if sound != "ok" {
        return Err(sound.into());
    }
    let mut said = BTreeSet::new();
    let mut entries = moment.prepare("SELECT key, room, content FROM entries WHERE content IS NOT NULL")?;
    let mut rows = entries.query([])?;
    while let Some(row) = rows.next()? {
        let (key, room, content): (i64, i64, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let words: BTreeSet<_> = search_words(&content).map(|word| (key, word)).collect();
        if !words.is_empty() {
            said.extend(words);
            said.insert((key, format!("#{room}")));
        }
    }
    let mut held = BTreeSet::new();
    let mut words = moment.prepare("SELECT doc, term FROM temp.held")?;
    let mut rows = words.query([])?;
    while let Some(row) = rows.next()? {
        let word: (i64, String) = (row.get(0)?, row.get(1)?);
        if !held.insert(word.clone()) {
            return Err(format!("{word:?} is held twice").into());
        }
    }
    if said != held {
        let missing: Vec<_> = said.difference(&held).take(5).collect();
        let stale: Vec<_> = held.difference(&said).take(5).collect();
        return Err(format!("missing: {missing:?}, stale: {stale:?}").into());
    }
    Ok(held.len())
}

/// Two of them write, change and search, each with a retention of its own, and are closed and opened again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_index_is_what_the_messages_say() {
    let number = |name, default| std::env::var(name).map_or(default, |text: String| text.parse().unwrap());
    let mut random = Random(number("ROOMCAST_STRESS_SEED", 1));
    let time = Duration::from_secs(number("ROOMCAST_STRESS_SECONDS", SECONDS));
    let folder = tempfile::tempdir().unwrap();
    let path: Arc<Path> = folder.path().join("chat.db").into();
    let store = SqliteStore::open(&*path).await.unwrap();
    for number in 0..ROOMS {
        store.create_room(&nth(number), epoch()).await.unwrap();
    }
    store.close().await.unwrap();

    let known = Arc::new(Known::default());
    let mut processes = JoinSet::new();
    for _ in 0..2 {
        processes.spawn(process(path.clone(), known.clone(), random.fork()));
    }
    let checks = tokio::task::spawn_blocking(move || {
        let (begun, mut checks, mut most) = (Instant::now(), 0, 0);
        let mut kept = checker(&path);
        while begun.elapsed() < time {
            std::thread::sleep(Duration::from_millis(random.below(900)));
            // One that knows the index from before, and one that has to read all of it.
            for connection in [&mut kept, &mut checker(&path)] {
                most = most.max(check(connection)?);
                checks += 1;
            }
            if random.one_in(4) {
                kept.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
            }
        }
        Ok::<_, Box<dyn Error + Send + Sync>>((checks, most))
    });
    let checks = checks.await.unwrap();
    known.stop.store(true, Ordering::Relaxed);
    let calls: u64 = processes.join_all().await.iter().sum();
    let (checks, most) = checks.unwrap();
    println!("{calls} calls, {checks} checks, up to {most} words in the index");
    assert!(calls > 0 && checks > 0 && most > 0);
}

/// A program of another version of Unicode opens the file and makes the index anew, while one goes on that has deleted
/// before: what it deletes now doesn't damage the index.
#[tokio::test]
async fn the_index_is_made_anew_under_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    let store = SqliteStore::open(&path).await.unwrap();
    let r = room("r");
    store.create_room(&r, epoch()).await.unwrap();
    let said: Vec<_> = (0..3000).map(|n| say(&format!("w{} {}", n % 5, secret(n)))).collect();
    append(&store, &r, &said).await;
    append(&store, &r, &[delete(said[0].id)]).await;

    let sql = "UPDATE facts SET value = '1.0.0' WHERE name = 'unicode'";
    assert_eq!(Connection::open(&path).unwrap().execute(sql, []).unwrap(), 1);
    SqliteStore::open(&path).await.unwrap().close().await.unwrap();

    let gone: Vec<_> = said[1..].iter().map(|message| delete(message.id)).collect();
    append(&store, &r, &gone).await;
    append(&store, &r, &[say("one more")]).await;
    assert_eq!(check(&mut checker(&path)).unwrap(), 3);
    store.close().await.unwrap();
}
