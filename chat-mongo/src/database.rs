//! The collections, and how operations on them are run: each within its time, and all in causal order.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use mongodb::bson::{Document, RawDocumentBuf, Timestamp, doc};
use mongodb::options::{
    Acknowledgment, ClientOptions, CollectionOptions, IndexOptions, ReadConcern, SelectionCriteria, WriteConcern,
};
use mongodb::{Client, ClientSession, Collection, IndexModel, SessionCursor};
use parking_lot::Mutex;
use roomcast_core::{StoreError, StoreErrorKind};

use crate::builder::{Builder, Durability};
use crate::error::{refused, unavailable, unread, unwritten};

/// The index of words.
pub(crate) const WORDS: &str = "words";

/// How long a server may take to say that it is well.
const HEALTH: Duration = Duration::from_secs(1);

/// The collections of a store.
pub(crate) struct Database {
    pub(crate) client: Client,
    pub(crate) database: mongodb::Database,
    pub(crate) rooms: Collection<RawDocumentBuf>,
    pub(crate) entries: Collection<RawDocumentBuf>,
    pub(crate) write_concern: WriteConcern,
    pub(crate) search: bool,
    pub(crate) operation_timeout: Duration,
    /// The time of the newest operation that was answered. Reads ask for it, so that they see what was written before
    /// even when another server has just become primary.
    seen: Mutex<Option<Timestamp>>,
}

impl Database {
    pub(crate) async fn connect(settings: &Builder) -> Result<Self, StoreError> {
        let wrong = |error: mongodb::error::Error| {
            refused(format!("the address of MongoDB can't be used: {error}")).with_source(error)
        };
        let mut options = ClientOptions::parse(&settings.uri).await.map_err(wrong)?;
        options.app_name.get_or_insert_with(|| "roomcast".to_owned());
        options
            .server_selection_timeout
            .get_or_insert(settings.operation_timeout);
        options.connect_timeout.get_or_insert(settings.operation_timeout);
        options.max_pool_size = settings.max_pool_size.or(options.max_pool_size);
        options.min_pool_size = settings.min_pool_size.or(options.min_pool_size);
        let (acknowledgment, read_concern) = match settings.durability {
            Durability::Majority => (Acknowledgment::Majority, ReadConcern::majority()),
            Durability::Primary => (Acknowledgment::Nodes(1), ReadConcern::local()),
        };
        let write_concern = WriteConcern::builder().w(acknowledgment).journal(true).build();
        let named = options.default_database.clone();
        let name = settings
            .database
            .clone()
            .or(named)
            .unwrap_or_else(|| "roomcast".to_owned());
        for (what, name) in [
            ("database", &name),
            ("collection", &settings.rooms),
            ("collection", &settings.entries),
        ] {
            check_name(what, name)?;
        }
        if settings.rooms == settings.entries {
            return Err(refused("rooms and entries need two collections"));
        }
        let client = Client::with_options(options).map_err(wrong)?;
        let database = client.database(&name);
        let own = CollectionOptions::builder()
            .selection_criteria(SelectionCriteria::ReadPreference(
                mongodb::options::ReadPreference::Primary,
            ))
            .read_concern(read_concern)
            .write_concern(write_concern.clone())
            .build();
        let this = Self {
            rooms: database.collection_with_options(&settings.rooms, own.clone()),
            entries: database.collection_with_options(&settings.entries, own),
            client,
            database,
            write_concern,
            search: settings.search,
            operation_timeout: settings.operation_timeout,
            seen: Mutex::new(None),
        };
        this.make_indexes(settings).await?;
        Ok(this)
    }

    /// Makes the indexes that aren't there. Since MongoDB 4.2 neither readers nor writers wait for that.
    async fn make_indexes(&self, settings: &Builder) -> Result<(), StoreError> {
        let index = |name: &str, keys: Document, options: IndexOptions| {
            let mut options = options;
            options.name = Some(name.to_owned());
            IndexModel::builder().keys(keys).options(options).build()
        };
        let unique = || IndexOptions::builder().unique(true);
        let mut indexes = vec![
            // The compare in compare-and-append: one entry for each place.
            index("place", doc! {"room_id": 1, "seq": 1}, unique().build()),
            index(
                "nonce",
                doc! {"room_id": 1, "user.id": 1, "nonce": 1},
                unique()
                    .partial_filter_expression(doc! {"nonce": {"$exists": true}})
                    .build(),
            ),
            // Almost always empty.
            index(
                "unfinished",
                doc! {"room_id": 1},
                IndexOptions::builder()
                    .partial_filter_expression(doc! {"unfinished": true})
                    .build(),
            ),
        ];
        if settings.search {
            indexes.push(index(
                WORDS,
                doc! {"room_id": 1, "words": 1, "seq": -1},
                IndexOptions::builder()
                    .partial_filter_expression(doc! {"words": {"$exists": true}})
                    .build(),
            ));
        }
        if settings.retention.max_age.is_some() {
            indexes.push(index(
                "age",
                doc! {"created_at": 1, "room_id": 1},
                IndexOptions::default(),
            ));
        }
        // Not within the time of one operation: in a large collection a new index takes a while.
        self.entries
            .create_indexes(indexes)
            .await
            .map(|_| ())
            .map_err(unwritten)
            .map_err(|error| match error.kind() {
                StoreErrorKind::OutcomeUnknown => unavailable(error.to_string()).with_source(error),
                _ => error,
            })
    }

    /// A session in which an operation sees everything that was answered before.
    pub(crate) async fn session(&self) -> Result<Session<'_>, StoreError> {
        let start = self.client.start_session().causal_consistency(true);
        let mut session = start.await.map_err(unread)?;
        if let Some(seen) = *self.seen.lock() {
            session.advance_operation_time(seen);
        }
        Ok(Session {
            session,
            seen: &self.seen,
        })
    }

    /// Something from this time was seen, by another way than a session.
    #[cfg(feature = "change-streams")]
    pub(crate) fn saw(&self, at: Timestamp) {
        let mut seen = self.seen.lock();
        *seen = (*seen).max(Some(at));
    }

    /// Whether there is a server that could take a write now.
    pub(crate) async fn health(&self) -> Result<(), StoreError> {
        // To the primary: without one nothing can be written.
        let ping = self.database.run_command(doc! {"ping": 1}).into_future();
        match tokio::time::timeout(HEALTH.min(self.operation_timeout), self.read(ping)).await {
            Ok(pong) => pong.map(|_| ()),
            Err(_) => Err(unavailable("MongoDB doesn't answer, or no server of it takes writes")),
        }
    }

    /// Runs a read within its time.
    pub(crate) async fn read<T>(&self, read: impl Future<Output = mongodb::error::Result<T>>) -> Result<T, StoreError> {
        match tokio::time::timeout(self.operation_timeout, read).await {
            Ok(result) => result.map_err(unread),
            Err(_) => Err(unavailable(format!(
                "MongoDB didn't answer a read within {:?}",
                self.operation_timeout
            ))),
        }
    }

    /// Runs a write within its time. `Err` within `Ok` is the server's or the driver's answer.
    pub(crate) async fn write<T>(
        &self,
        write: impl Future<Output = mongodb::error::Result<T>>,
    ) -> Result<mongodb::error::Result<T>, StoreError> {
        let result = tokio::time::timeout(self.operation_timeout, write).await;
        result.map_err(|_| {
            let context = format!("MongoDB didn't answer a write within {:?}", self.operation_timeout);
            StoreError::new(StoreErrorKind::OutcomeUnknown, context)
        })
    }
}

/// The cursor's next document.
pub(crate) async fn next(
    cursor: &mut SessionCursor<RawDocumentBuf>,
    session: &mut ClientSession,
) -> mongodb::error::Result<Option<RawDocumentBuf>> {
    cursor.next(session).await.transpose()
}

/// A session that tells of the time of its operations when it ends.
pub(crate) struct Session<'a> {
    session: ClientSession,
    seen: &'a Mutex<Option<Timestamp>>,
}

impl Deref for Session<'_> {
    type Target = ClientSession;
    fn deref(&self) -> &ClientSession {
        &self.session
    }
}

impl DerefMut for Session<'_> {
    fn deref_mut(&mut self) -> &mut ClientSession {
        &mut self.session
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        let mut seen = self.seen.lock();
        *seen = (*seen).max(self.session.operation_time());
    }
}

fn check_name(what: &str, name: &str) -> Result<(), StoreError> {
    let forbidden: &[char] = match what {
        "database" => &['/', '\\', '.', ' ', '"', '$', '\0'],
        _ => &['$', '\0'],
    };
    if name.is_empty() || name.len() > 63 || name.contains(forbidden) || name.starts_with("system.") {
        return Err(refused(format!(
            "{name:?} can't be the name of a {what}: 1 to 63 bytes are allowed, none of {forbidden:?} among them"
        )));
    }
    Ok(())
}
