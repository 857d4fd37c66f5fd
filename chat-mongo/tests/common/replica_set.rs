//! Servers that keep the same data.

use std::time::{Duration, Instant};

use mongodb::Client;
use mongodb::bson::{Document, doc};

use super::mongod::Mongod;

const NAME: &str = "roomcast";

/// A replica set on the loopback, of one server or of three.
pub(crate) struct ReplicaSet {
    pub(crate) members: Vec<Mongod>,
}

impl ReplicaSet {
    /// Starts so many servers and waits until one of them is primary and the others follow it.
    pub(crate) async fn of(count: usize) -> Self {
        Self::with(count, &["--oplogSize", "128"]).await
    }

    /// One server that keeps a megabyte of operations, and lets go of older ones soon.
    pub(crate) async fn forgetful() -> Self {
        Self::with(1, &["--oplogSize", "1", "--syncdelay", "5"]).await
    }

    async fn with(count: usize, options: &[&str]) -> Self {
        let set = Self {
            members: (0..count).map(|_| Mongod::member_of(NAME, options)).collect(),
        };
        let members: Vec<Document> = (0..)
            .zip(&set.members)
            .map(|(id, member): (i32, _)| doc! { "_id": id, "host": member.address() })
            .collect();
        let config = doc! {
            "_id": NAME,
            "members": members,
            // Notices quickly that the primary is gone.
            "settings": { "electionTimeoutMillis": 2000, "heartbeatIntervalMillis": 500 },
        };
        set.ask(0, doc! { "replSetInitiate": config })
            .await
            .expect("a replica set");
        let began = Instant::now();
        loop {
            let states = set.states().await;
            let count_of = |state| states.iter().filter(|found| *found == state).count();
            if count_of("PRIMARY") == 1 && count_of("SECONDARY") + 1 == count {
                return set;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "the servers are {states:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) fn uri(&self) -> String {
        let addresses: Vec<String> = self.members.iter().map(|member| member.address()).collect();
        format!("mongodb://{}/?replicaSet={NAME}", addresses.join(","))
    }

    /// Which server is primary; waits until there is one.
    pub(crate) async fn primary(&self) -> usize {
        let began = Instant::now();
        loop {
            for (at, member) in self.members.iter().enumerate() {
                if member.is_running()
                    && let Ok(hello) = self.ask(at, doc! { "hello": 1 }).await
                    && hello.get_bool("isWritablePrimary").unwrap_or_default()
                {
                    return at;
                }
            }
            assert!(began.elapsed() < Duration::from_secs(60), "no server becomes primary");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Makes the primary give up its place, and waits until another has it.
    pub(crate) async fn step_down(&self) {
        let old = self.primary().await;
        // Who stepped down stays out of elections for these seconds; if all others still do, it is refused.
        let order = doc! { "replSetStepDown": 3, "secondaryCatchUpPeriodSecs": 2 };
        let began = Instant::now();
        while let Err(error) = self.ask(old, order.clone()).await {
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "the primary doesn't step down: {error}"
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        assert_ne!(self.primary().await, old);
    }

    async fn states(&self) -> Vec<String> {
        let status = self.ask(0, doc! { "replSetGetStatus": 1 }).await;
        let members = status.map(|status| status.get_array("members").cloned().unwrap_or_default());
        let states = members.unwrap_or_default().into_iter().map(|member| {
            let state = member.as_document().and_then(|member| member.get_str("stateStr").ok());
            state.unwrap_or_default().to_owned()
        });
        states.collect()
    }

    /// Asks this very server.
    async fn ask(&self, at: usize, command: Document) -> mongodb::error::Result<Document> {
        let uri = format!(
            "{}/?directConnection=true&serverSelectionTimeoutMS=2000",
            self.members[at].uri()
        );
        let client = Client::with_uri_str(uri).await?;
        let answer = client.database("admin").run_command(command).await;
        client.shutdown().immediate(true).await;
        answer
    }
}
