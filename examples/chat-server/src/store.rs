//! Opens the store that was chosen.

use std::sync::Arc;

use roomcast_core::{MemoryStore, MessageStore, StoreError, StoreErrorKind};
use roomcast_mongo::MongoStore;
use roomcast_sqlite::SqliteStore;

use crate::args::{RetentionChoice, StoreChoice};

/// The store, and the same as what it is, for what MongoDB has besides.
pub(crate) struct Opened {
    pub(crate) store: Arc<dyn MessageStore>,
    pub(crate) mongo: Option<Arc<MongoStore>>,
}

pub(crate) async fn open(choice: &StoreChoice, retention: RetentionChoice) -> Result<Opened, StoreError> {
    let RetentionChoice { entries, age } = retention;
    let store: Arc<dyn MessageStore> = match choice {
        StoreChoice::Memory => {
            if age.is_some() {
                return Err(StoreError::new(
                    StoreErrorKind::Refused,
                    "the store in memory keeps a number of entries; it knows no age",
                ));
            }
            let entries = entries.map(|entries| usize::try_from(entries).unwrap_or(usize::MAX));
            Arc::new(entries.map_or_else(MemoryStore::new, MemoryStore::with_retention))
        }
        StoreChoice::Sqlite(path) => {
            let retention = roomcast_sqlite::Retention {
                max_entries: entries,
                max_age: age,
            };
            Arc::new(SqliteStore::builder(path).retention(retention).open().await?)
        }
        StoreChoice::Mongo(uri) => {
            let retention = roomcast_mongo::Retention {
                max_entries: entries,
                max_age: age,
            };
            let store = MongoStore::builder(uri).retention(retention).search(true).connect();
            let mongo = Arc::new(store.await?);
            return Ok(Opened {
                store: mongo.clone(),
                mongo: Some(mongo),
            });
        }
    };
    Ok(Opened { store, mongo: None })
}
