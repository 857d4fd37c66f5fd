//! What people write with axum: a task for each direction of a connection, and a broadcast channel for each room, as in axum's
//! own chat example. Whoever lags loses messages.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;
use futures_util::{SinkExt, StreamExt};
use parking_lot::Mutex;
use tokio::sync::broadcast;

/// As many messages as roomcast queues for one connection.
const CAPACITY: usize = 256;

struct Room {
    sender: broadcast::Sender<Utf8Bytes>,
    seq: AtomicU64,
}

type Rooms = Arc<Mutex<HashMap<String, Arc<Room>>>>;

pub(super) fn serve() -> io::Result<()> {
    super::one_core()?.block_on(async {
        let router = Router::new()
            .route("/ws/{room}", get(upgrade))
            .with_state(Rooms::default());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?.port());
        axum::serve(listener, router).await
    })
}

async fn upgrade(upgrade: WebSocketUpgrade, Path(name): Path<String>, State(rooms): State<Rooms>) -> Response {
    let room = rooms
        .lock()
        .entry(name.clone())
        .or_insert_with(|| {
            Arc::new(Room {
                sender: broadcast::channel(CAPACITY).0,
                seq: AtomicU64::new(0),
            })
        })
        .clone();
    upgrade.on_upgrade(move |socket| talk(socket, name, room))
}

async fn talk(socket: WebSocket, name: String, room: Arc<Room>) {
    let (mut sink, mut stream) = socket.split();
    let mut receiver = room.sender.subscribe();
    let writing = tokio::spawn(async move {
        loop {
            match receiver.recv().await {
                Ok(text) => {
                    if sink.send(Message::Text(text)).await.is_err() {
                        break;
                    }
                }
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => break,
            }
        }
    });
    while let Some(Ok(message)) = stream.next().await {
        if let Message::Text(text) = message {
            let seq = room.seq.fetch_add(1, Ordering::Relaxed) + 1;
            // Nobody may be listening.
            let _ = room
                .sender
                .send(super::envelope(&name, seq, super::addressed(&text).1).into());
        }
    }
    writing.abort();
}
