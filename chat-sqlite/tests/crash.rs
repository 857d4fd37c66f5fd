//! A process that is killed while it writes: what it was told is stored.

mod common;

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;

use common::{epoch, room, say};
use roomcast_core::{MessageStore, PageLimit};
use roomcast_sqlite::SqliteStore;

const FILE: &str = "ROOMCAST_CRASH_TEST_FILE";
const ROOMS: usize = 8;

/// Not a test: the process that is killed. Tells of each acknowledged message.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Ok(path) = std::env::var(FILE) else { return };
    let store = Arc::new(SqliteStore::open(path).await.unwrap());
    let mut writers = tokio::task::JoinSet::new();
    for number in 0..ROOMS {
        let store = store.clone();
        writers.spawn(async move {
            let room = room(&format!("r{number}"));
            let mut head = store.create_room(&room, epoch()).await.unwrap().head;
            loop {
                let entry = say("hello there");
                head = store
                    .append(&room, head, std::slice::from_ref(&entry))
                    .await
                    .unwrap()
                    .head;
                println!("ack {room} {head} {}", entry.id);
            }
        });
    }
    // None ends but by a failure; then the test sees that nothing comes any more.
    writers.join_next().await;
}

#[tokio::test]
async fn what_a_killed_process_acknowledged_is_there_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    let mut told = Vec::new();
    for round in 1..=3 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture", "--test-threads=1"])
            .env(FILE, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // What was printed before the kill is read after it, too.
        let mut lines = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map_while(Result::ok);
        let mut acks: Vec<String> = Vec::new();
        while acks.len() < 200 * round {
            acks.push(lines.next().expect("the child goes on writing"));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        acks.extend(lines);
        for line in acks {
            let mut words = line.split(' ').skip_while(|word| *word != "ack").skip(1);
            if let (Some(room), Some(seq), Some(id)) = (words.next(), words.next(), words.next())
                && id.len() == 36
            {
                told.push((room.to_owned(), seq.parse::<u64>().unwrap(), id.to_owned()));
            }
        }

        let store = SqliteStore::open(&path).await.unwrap();
        let mut stored = HashSet::new();
        for number in 0..ROOMS {
            let room = room(&format!("r{number}"));
            let limit = PageLimit {
                entries: usize::MAX,
                bytes: usize::MAX,
            };
            let page = store.log(&room, 0, limit).await.unwrap();
            for (place, entry) in page.entries.iter().enumerate() {
                assert_eq!(entry.seq(), place as u64 + 1);
                assert!(stored.insert((room.to_string(), entry.seq(), entry.id().to_string())));
            }
            assert_eq!(page.head, page.entries.len() as u64);
        }
        for ack in &told {
            assert!(stored.contains(ack), "{ack:?} is lost");
        }
        assert!(told.len() > 150 * round);
        println!("round {round}: {} acknowledged, {} stored", told.len(), stored.len());
        store.close().await.unwrap();
    }
}
