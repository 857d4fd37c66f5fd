//! Serves the routes on a socket, with bounds on connections and on the time that each may take.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use roomcast_core::Hub;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep, sleep_until};

use crate::names::Names;

/// Pause after a failed accept (no file descriptors left, say), so that it isn't tried in a tight loop.
const PAUSE: Duration = Duration::from_millis(100);

/// While others wait to be accepted, a connection older than this is closed as soon as it is idle.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where a request comes from, among its extensions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

pub(crate) struct Server {
    listener: TcpListener,
    door: Arc<Door>,
    places: usize,
}

/// What each connection needs.
struct Door {
    routes: Router,
    hub: Hub,
    names: Names,
}

impl Server {
    /// A server that has so many connections at a time, not counting those that became chat connections.
    pub(crate) fn new(listener: TcpListener, routes: Router, hub: &Hub, names: Names, places: usize) -> Self {
        Self {
            listener,
            door: Arc::new(Door {
                routes,
                hub: hub.clone(),
                names,
            }),
            places,
        }
    }

    /// Takes connections until it is told to stop, and then waits until they are over.
    pub(crate) async fn serve(self, stop: watch::Receiver<bool>) {
        let Self { listener, door, places } = self;
        let permits = Arc::new(Semaphore::new(places));
        let (crowded, _) = watch::channel(false);
        let accepting = async {
            loop {
                let permit = place(&permits, &crowded).await;
                let (socket, peer) = accept(&listener).await;
                let (crowded, stop) = (crowded.subscribe(), stop.clone());
                tokio::spawn(connection(Arc::clone(&door), socket, peer, permit, crowded, stop));
            }
        };
        tokio::select! {
            () = told(stop.clone()) => {}
            () = accepting => {}
        }
        drop(listener);
        let all = u32::try_from(places).unwrap_or(u32::MAX);
        let _over = permits.acquire_many(all).await;
    }
}

/// A place for a connection. A client that finds none isn't accepted: it waits in the kernel's queue and costs nothing here.
async fn place(permits: &Arc<Semaphore>, crowded: &watch::Sender<bool>) -> OwnedSemaphorePermit {
    if let Ok(permit) = Arc::clone(permits).try_acquire_owned() {
        return permit;
    }
    crowded.send_replace(true);
    let permit = Arc::clone(permits).acquire_owned().await;
    crowded.send_replace(false);
    permit.expect("the semaphore is never closed")
}

/// Accepts a connection, however long it takes. An outage is told of when it begins and when it is over.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    let mut failing = false;
    loop {
        match listener.accept().await {
            Ok(accepted) => {
                if failing {
                    tracing::warn!("connections are accepted again");
                }
                return accepted;
            }
            Err(error) if concerns_one(&error) => tracing::debug!(%error, "a client went away before it was accepted"),
            Err(error) => {
                if !failing {
                    tracing::warn!(%error, "no connection can be accepted");
                }
                failing = true;
                sleep(PAUSE).await;
            }
        }
    }
}

/// The error is of the one connection that would have been accepted, and the next may do well.
fn concerns_one(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

async fn told(mut what: watch::Receiver<bool>) {
    // A sender that is gone can't tell any more; it tells before it goes.
    let _ = what.wait_for(|told| *told).await;
}

/// Serves one connection to its end, or until it is handed over as a chat connection.
async fn connection(
    door: Arc<Door>,
    socket: TcpStream,
    peer: SocketAddr,
    permit: OwnedSemaphorePermit,
    crowded: watch::Receiver<bool>,
    stop: watch::Receiver<bool>,
) {
    let _permit = permit;
    // A client has as long to read an answer, and to ask for something else behind it, as it has to ask.
    let patience = door.hub.limits().handshake;
    let (answered, due) = watch::channel(None);
    let routes = TowerToHyperService::new(door.routes.clone());
    let service = service_fn(|request| {
        answered.send_replace(None);
        let (answered, door) = (answered.clone(), Arc::clone(&door));
        let answer = answer(&door, &routes, request, peer);
        async move {
            let mut response = answer.await?;
            // Whoever comes now finds another server next, or none.
            if response.status() != StatusCode::SWITCHING_PROTOCOLS && door.hub.stats().draining {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(CONNECTION, close);
            }
            answered.send_replace(Some(Instant::now() + patience));
            Ok::<_, std::convert::Infallible>(response)
        }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(patience)
            .serve_connection(TokioIo::new(socket), service)
            .with_upgrades()
    );
    let mut overdue = pin!(overdue(due));
    let mut unwanted = pin!(async {
        tokio::select! {
            () = told(stop) => {}
            () = async { sleep(PATIENCE).await; told(crowded).await } => {}
        }
    });
    let mut leaving = false;
    loop {
        tokio::select! {
            result = connection.as_mut() => {
                if let Err(error) = result {
                    tracing::debug!(%error, "a connection failed");
                }
                return;
            }
            () = &mut overdue => {
                tracing::debug!(%peer, "a client doesn't read its answer");
                return;
            }
            () = &mut unwanted, if !leaving => {
                leaving = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

fn answer(
    door: &Door,
    routes: &TowerToHyperService<Router>,
    mut request: Request<Incoming>,
    peer: SocketAddr,
) -> impl Future<Output = Result<Response<Body>, std::convert::Infallible>> + use<> {
    let answer = match door.names.check(request.version(), request.headers()) {
        Ok(()) => {
            request.extensions_mut().insert(Peer(peer));
            Ok(routes.call(request))
        }
        Err(refusal) => Err(roomcast_ws::refusal_response(&refusal).map(Body::from)),
    };
    async move {
        match answer {
            Ok(answer) => answer.await,
            Err(response) => Ok(response),
        }
    }
}

/// Ready when the time is over. `None` is no deadline.
async fn overdue(mut due: watch::Receiver<Option<Instant>>) {
    loop {
        let at = *due.borrow_and_update();
        let over = async {
            match at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = over => return,
            changed = due.changed() => {
                if changed.is_err() {
                    return std::future::pending().await;
                }
            }
        }
    }
}
