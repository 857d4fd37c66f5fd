//! One server for all tests of a binary, and a database of its own for each.

use std::sync::OnceLock;

use mongodb::Client;
use mongodb::bson::doc;
use roomcast_core::{IdSource, RandomIds};

use super::mongod::Mongod;
use super::replica_set::ReplicaSet;

/// The address of a server that stands alone, or of the one that `MONGODB_URI` names.
///
/// It ends with the test's process, since its supervisor does: see [`Mongod`].
pub(crate) fn standalone() -> String {
    static SERVER: OnceLock<Mongod> = OnceLock::new();
    given().unwrap_or_else(|| SERVER.get_or_init(Mongod::standalone).uri())
}

/// The address of a replica set of one, or of the server that `MONGODB_URI` names.
pub(crate) fn replica_set() -> String {
    given().unwrap_or_else(|| own_set().uri())
}

/// Where the only server of the replica set listens; `None` if `MONGODB_URI` names another.
pub(crate) fn replica_set_address() -> Option<String> {
    given().is_none().then(|| own_set().members[0].address())
}

fn own_set() -> &'static ReplicaSet {
    static SET: OnceLock<ReplicaSet> = OnceLock::new();
    SET.get_or_init(|| apart(ReplicaSet::of(1)))
}

fn given() -> Option<String> {
    std::env::var("MONGODB_URI").ok().filter(|uri| !uri.is_empty())
}

/// A database without anything in it. Dropped, it is removed from the server.
pub(crate) struct Database {
    pub(crate) uri: String,
    pub(crate) name: String,
}

impl Database {
    pub(crate) fn on(uri: String) -> Self {
        let name = format!("roomcast_test_{}", RandomIds.message_id());
        Self { uri, name }
    }

    /// The database through the driver, as a person in the shell has it.
    pub(crate) async fn open(&self) -> mongodb::Database {
        Client::with_uri_str(&self.uri).await.unwrap().database(&self.name)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (uri, name) = (self.uri.clone(), self.name.clone());
        apart(async move {
            let client = Client::with_uri_str(uri).await.unwrap();
            let gone = client.database(&name).run_command(doc! { "dropDatabase": 1 }).await;
            client.shutdown().immediate(true).await;
            if let Err(error) = gone {
                println!("the database {name} is left on the server: {error}");
            }
        });
    }
}

/// Waits for a future where nothing can be awaited, though a runtime may be at work: in a static, in a drop.
fn apart<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> T {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(future)
    };
    std::thread::spawn(runtime).join().unwrap()
}
