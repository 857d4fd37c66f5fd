//! Opens the bus that was chosen.

use std::error::Error;
use std::sync::Arc;

use roomcast_core::Bus;
use roomcast_mongo::MongoStore;
use roomcast_nats::NatsBus;

use crate::args::BusChoice;

pub(crate) async fn open(choice: &BusChoice, store: Option<&MongoStore>) -> Result<Arc<dyn Bus>, Box<dyn Error>> {
    match (choice, store) {
        (BusChoice::Nats(servers), _) => {
            let bus = NatsBus::builder(servers).name("chat-server").connect().await;
            Ok(Arc::new(
                bus.map_err(|error| format!("the bus can't be used: {error}"))?,
            ))
        }
        (BusChoice::Mongo, Some(store)) => Ok(Arc::new(store.bus().await?)),
        (BusChoice::Mongo, None) => Err("a bus of the kind mongodb needs a store mongodb://HOST/DATABASE".into()),
    }
}
