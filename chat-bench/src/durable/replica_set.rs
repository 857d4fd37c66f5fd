//! A MongoDB server of our own, as a replica set of one, without which a majority means nothing.

use std::error::Error;
use std::time::{Duration, Instant};

use chat_driver::supervised::{Recipe, Supervised, program};
use mongodb::Client;
use mongodb::bson::{Document, doc};

const NAME: &str = "roomcast";
/// How long the server may take to start, and then to become primary.
const PATIENCE: Duration = Duration::from_secs(60);

/// Dropped, it is ended and its data removed.
pub(super) struct ReplicaSet(Supervised);

impl ReplicaSet {
    /// `shell` is what runs the shell that looks after the server.
    pub(super) async fn start(shell: &[&str]) -> Result<Self, Box<dyn Error>> {
        let recipe = Recipe {
            name: "mongod",
            program: &program("mongod", "MONGOD", "mongod"),
            shell,
            before: r#"mkdir "$folder/data""#,
            after: "",
            starting: PATIENCE,
        };
        let server = Supervised::start(&recipe, |folder, port| {
            let path = |name: &str| folder.join(name).display().to_string();
            let (data, log, port) = (path("data"), path("log"), port.to_string());
            let words = [
                ["--dbpath", &data],
                ["--logpath", &log],
                ["--bind_ip", "127.0.0.1"],
                ["--port", &port],
                ["--replSet", NAME],
                ["--oplogSize", "128"],
                ["--wiredTigerCacheSizeGB", "0.25"],
                ["--setParameter", "diagnosticDataCollectionEnabled=false"],
            ];
            let flags = ["--nounixsocket", "--quiet"];
            words
                .iter()
                .flatten()
                .chain(&flags)
                .map(|&word| word.to_owned())
                .collect()
        })?;
        let set = Self(server);
        set.become_primary().await?;
        Ok(set)
    }

    pub(super) fn uri(&self) -> String {
        format!("mongodb://{}/?replicaSet={NAME}", self.0.address())
    }

    async fn become_primary(&self) -> Result<(), Box<dyn Error>> {
        let uri = format!("mongodb://{}/?directConnection=true", self.0.address());
        let client = Client::with_uri_str(uri).await?;
        let admin = client.database("admin");
        let member = doc! { "_id": 0, "host": self.0.address() };
        let config: Document = doc! { "_id": NAME, "members": [member] };
        admin.run_command(doc! { "replSetInitiate": config }).await?;
        let began = Instant::now();
        loop {
            let hello = admin.run_command(doc! { "hello": 1 }).await?;
            if hello.get_bool("isWritablePrimary").unwrap_or_default() {
                client.shutdown().immediate(true).await;
                return Ok(());
            }
            if began.elapsed() > PATIENCE {
                return Err(format!("the MongoDB server doesn't become primary:\n{}", self.0.said()).into());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
