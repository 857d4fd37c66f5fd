//! Opens the bus that was chosen.

use std::error::Error;
use std::sync::Arc;

use roomcast_core::Bus;
use roomcast_nats::NatsBus;

use crate::args::{BusChoice, StoreChoice};

pub(crate) async fn open(choice: &BusChoice, store: &StoreChoice) -> Result<Arc<dyn Bus>, Box<dyn Error>> {
    match (choice, store) {
        (BusChoice::Nats(servers), _) => {
            let bus = NatsBus::builder(servers).name("chat-server").connect().await;
            Ok(Arc::new(
                bus.map_err(|error| format!("the bus can't be used: {error}"))?,
            ))
        }
        (BusChoice::Mongo, StoreChoice::Mongo(_)) => Err("this build has no bus of the kind mongodb".into()),
        (BusChoice::Mongo, _) => Err("a bus of the kind mongodb needs a store mongodb://HOST/DATABASE".into()),
    }
}
