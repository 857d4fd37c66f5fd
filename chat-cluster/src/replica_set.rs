//! MongoDB: a replica set of one member or of three.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use chat_driver::process::Process;
use mongodb::Client;
use mongodb::bson::{Document, doc};
use rustix::process::Signal;
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

use crate::keeper::Keeper;
use crate::links::{Links, Part};
use crate::ports::Ports;

const NAME: &str = "roomcast";

/// How long the members may take to start, or to agree on a primary.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long one of them may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// A member: where its server listens, and where others find it.
struct Member {
    process: Option<Process>,
    listens: SocketAddr,
    address: SocketAddr,
}

pub(crate) struct ReplicaSet {
    program: PathBuf,
    members: Vec<Member>,
    links: Option<Links>,
}

impl ReplicaSet {
    /// Starts so many members and waits until one of them is primary and the others follow it. With links, everybody finds each
    /// behind a proxy, the other members too.
    pub(crate) async fn start(
        keeper: &Keeper,
        ports: &mut Ports,
        program: PathBuf,
        count: usize,
        links: Option<&Links>,
    ) -> Result<Self, String> {
        let mut set = Self {
            program,
            members: Vec::new(),
            links: links.cloned(),
        };
        for at in 0..count {
            let listens = ports.free()?;
            let address = match links {
                None => listens,
                Some(links) => {
                    let address = ports.free()?;
                    links.proxy(Part::Member(at), address, listens).await?;
                    address
                }
            };
            set.members.push(Member {
                process: None,
                listens,
                address,
            });
            set.launch(keeper, at)?;
        }
        set.initiate().await?;
        Ok(set)
    }

    fn launch(&mut self, keeper: &Keeper, at: usize) -> Result<(), String> {
        let name = format!("mongod-{}", at + 1);
        let data = keeper.folder.join(&name);
        std::fs::create_dir_all(&data).map_err(|error| format!("{}: {error}", data.display()))?;
        let member = &mut self.members[at];
        let mut command = Command::new(&self.program);
        command
            .arg("--dbpath")
            .arg(data)
            .args(["--bind_ip", "127.0.0.1", "--port", &member.listens.port().to_string()])
            .args(["--replSet", NAME, "--oplogSize", "128"])
            .args(["--nounixsocket", "--quiet", "--wiredTigerCacheSizeGB", "0.25"])
            .args(["--setParameter", "diagnosticDataCollectionEnabled=false"]);
        let process = keeper.start(&name, command)?;
        if let Some(links) = &self.links {
            links.is(Part::Member(at), process.pid());
        }
        member.process = Some(process);
        Ok(())
    }

    async fn initiate(&mut self) -> Result<(), String> {
        let members: Vec<Document> = (0..)
            .zip(&self.members)
            .map(|(id, member): (i32, _)| doc! { "_id": id, "host": member.address.to_string() })
            .collect();
        let config = doc! {
            "_id": NAME,
            "members": members,
            // Notices quickly that the primary is gone.
            "settings": { "electionTimeoutMillis": 2000, "heartbeatIntervalMillis": 500 },
        };
        let begun = Instant::now();
        while let Err(error) = self.ask(0, doc! { "replSetInitiate": config.clone() }).await {
            self.look(begun, &format!("the replica set can't be made: {error}"))?;
            sleep(Duration::from_millis(100)).await;
        }
        self.whole().await
    }

    /// Fails when a member has ended or the time is up.
    fn look(&mut self, begun: Instant, what: &str) -> Result<(), String> {
        for (at, member) in self.members.iter_mut().enumerate() {
            if let Some(process) = &mut member.process
                && let Some(status) = process.ended()
            {
                return Err(format!("mongod-{} ended with {status}: {}", at + 1, process.output()));
            }
        }
        if begun.elapsed() > PATIENCE {
            return Err(what.to_owned());
        }
        Ok(())
    }

    /// Waits until there is a primary, and all others follow it.
    pub(crate) async fn whole(&mut self) -> Result<(), String> {
        let begun = Instant::now();
        loop {
            let states = self.states().await;
            let count_of = |state| states.iter().filter(|found| *found == state).count();
            if count_of("PRIMARY") == 1 && count_of("SECONDARY") + 1 == self.members.len() {
                return Ok(());
            }
            self.look(begun, &format!("the members are {states:?}"))?;
            sleep(Duration::from_millis(100)).await;
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// For a chat server's `--store`.
    pub(crate) fn uri(&self) -> String {
        let addresses: Vec<String> = self.members.iter().map(|member| member.address.to_string()).collect();
        format!("mongodb://{}/chat?replicaSet={NAME}", addresses.join(","))
    }

    /// Which member is primary; waits until there is one.
    pub(crate) async fn primary(&mut self) -> Result<usize, String> {
        let begun = Instant::now();
        loop {
            for at in 0..self.members.len() {
                let runs = self.members[at].process.is_some();
                if runs
                    && let Ok(hello) = self.ask(at, doc! { "hello": 1 }).await
                    && hello.get_bool("isWritablePrimary").unwrap_or_default()
                {
                    return Ok(at);
                }
            }
            self.look(begun, "no member becomes primary")?;
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Makes the primary give up its place.
    pub(crate) async fn step_down(&mut self) -> Result<usize, String> {
        let begun = Instant::now();
        loop {
            let primary = self.primary().await?;
            // Who stepped down stays out of elections for these seconds; if all others still do, it is refused.
            let order = doc! { "replSetStepDown": 5, "secondaryCatchUpPeriodSecs": 2 };
            match self.ask(primary, order).await {
                Ok(_) => return Ok(primary),
                Err(error) => self.look(begun, &format!("the primary doesn't step down: {error}"))?,
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    pub(crate) async fn kill(&mut self, at: usize) -> Result<(), String> {
        match self.members[at].process.take() {
            Some(process) => process.kill().await,
            None => Ok(()),
        }
    }

    /// Starts a member that was killed, on its data and at its port.
    pub(crate) fn restart(&mut self, keeper: &Keeper, at: usize) -> Result<(), String> {
        self.launch(keeper, at)
    }

    /// Stops a member in its tracks, or lets it go on.
    pub(crate) fn signal(&self, at: usize, signal: Signal) -> Result<(), String> {
        let process = self.members[at].process.as_ref();
        process.map_or(Ok(()), |process| process.signal(signal))
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

    /// Asks this very member, and not by way of its proxy.
    async fn ask(&self, at: usize, command: Document) -> Result<Document, String> {
        let uri = format!(
            "mongodb://{}/?directConnection=true&serverSelectionTimeoutMS=2000",
            self.members[at].listens
        );
        let asking = async {
            let client = Client::with_uri_str(uri).await?;
            let answer = client.database("admin").run_command(command).await;
            client.shutdown().immediate(true).await;
            answer
        };
        let answer = timeout(ANSWER, asking).await;
        let answer = answer.map_err(|_| format!("no answer in {} s", ANSWER.as_secs()))?;
        answer.map_err(|error: mongodb::error::Error| error.to_string())
    }
}
