//! The hub (its surface; the inside follows).

use std::future::Future;

use crate::{Client, CloseCode, Connection, Limits, Refusal};

/// The hub.
#[derive(Debug, Clone)]
pub struct Hub {
    limits: std::sync::Arc<Limits>,
}

impl Hub {
    /// The limits that are in force.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Lets a client in.
    ///
    /// # Errors
    /// A refusal.
    pub async fn admit(&self, client: Client) -> Result<Admission, Refusal> {
        Ok(Admission { client })
    }

    /// Runs a task that shutdown waits for.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(task);
    }

    /// Ready once the hub is draining.
    pub async fn draining(&self) {
        std::future::pending().await
    }
}

/// A client that was let in.
#[derive(Debug)]
pub struct Admission {
    client: Client,
}

impl Admission {
    /// The client.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Serves it to its end.
    pub async fn serve<C: Connection>(self, connection: C) -> Ended {
        drop(connection.split());
        Ended { code: None }
    }
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ended {
    /// Why the server closed it; `None` if the client left or the connection broke.
    pub code: Option<CloseCode>,
}
