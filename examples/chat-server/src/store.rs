//! Opens the store that was chosen.

use std::sync::Arc;

use roomcast_core::{MemoryStore, MessageStore, StoreError, StoreErrorKind};
use roomcast_mongo::MongoStore;
use roomcast_sqlite::SqliteStore;

use crate::args::{RetentionChoice, StoreChoice};

pub(crate) async fn open(
    choice: &StoreChoice,
    retention: RetentionChoice,
) -> Result<Arc<dyn MessageStore>, StoreError> {
    let RetentionChoice { entries, age } = retention;
    match choice {
        StoreChoice::Memory => {
            if age.is_some() {
                return Err(StoreError::new(
                    StoreErrorKind::Refused,
                    "the store in memory keeps a number of entries; it knows no age",
                ));
            }
            let entries = entries.map(|entries| usize::try_from(entries).unwrap_or(usize::MAX));
            Ok(Arc::new(
                entries.map_or_else(MemoryStore::new, MemoryStore::with_retention),
            ))
        }
        StoreChoice::Sqlite(path) => {
            let retention = roomcast_sqlite::Retention {
                max_entries: entries,
                max_age: age,
            };
            Ok(Arc::new(SqliteStore::builder(path).retention(retention).open().await?))
        }
        StoreChoice::Mongo(uri) => {
            let retention = roomcast_mongo::Retention {
                max_entries: entries,
                max_age: age,
            };
            Ok(Arc::new(
                MongoStore::builder(uri)
                    .retention(retention)
                    .search(true)
                    .connect()
                    .await?,
            ))
        }
    }
}
