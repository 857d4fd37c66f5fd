//! Serves the routes on a socket, with time limits for requests that come slowly or not at all.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use roomcast_core::Hub;
use tokio::net::TcpListener;

/// Pause after a failed accept (no file descriptors left, say), so that it isn't tried in a tight loop.
const PAUSE: Duration = Duration::from_millis(100);

pub(crate) struct Server {
    listener: TcpListener,
    routes: Router,
    hub: Hub,
}

impl Server {
    pub(crate) fn new(listener: TcpListener, routes: Router, hub: &Hub) -> Self {
        Self {
            listener,
            routes,
            hub: hub.clone(),
        }
    }

    pub(crate) fn address(&self) -> String {
        self.listener.local_addr().map_or_else(
            |_| "an unknown address".into(),
            |address: SocketAddr| address.to_string(),
        )
    }

    /// Takes connections until it is dropped.
    pub(crate) async fn serve(self) {
        loop {
            let socket = match self.listener.accept().await {
                Ok((socket, _)) => socket,
                Err(error) => {
                    tracing::warn!(%error, "can't accept a connection");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let service = TowerToHyperService::new(self.routes.clone());
            let hub = self.hub.clone();
            tokio::spawn(async move {
                let mut connection = std::pin::pin!(
                    http1::Builder::new()
                        .timer(TokioTimer::new())
                        .header_read_timeout(hub.limits().handshake)
                        .serve_connection(TokioIo::new(socket), service)
                        .with_upgrades()
                );
                let result = tokio::select! {
                    result = connection.as_mut() => result,
                    () = hub.draining() => {
                        connection.as_mut().graceful_shutdown();
                        connection.await
                    }
                };
                if let Err(error) = result {
                    tracing::debug!(%error, "a connection failed");
                }
            });
        }
    }
}
