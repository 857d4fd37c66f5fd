//! socketioxide on axum, as in its documentation: the connection joins its rooms, and a message is emitted to the room.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use axum::Router;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use socketioxide::extract::{Data, SocketRef};
use socketioxide::{SocketIo, TransportType};

/// As many packets as roomcast queues messages for one connection; it loses what doesn't fit.
const CAPACITY: usize = 256;

/// What a client emits.
#[derive(Deserialize)]
struct Input {
    /// Given by those that are in several rooms.
    room_id: Option<String>,
    content: String,
}

/// What a room's members get: as long as what roomcast sends, and the event's name.
#[derive(Serialize)]
struct Message<'a> {
    id: &'a str,
    room_id: &'a str,
    seq: u64,
    user: User<'a>,
    created_at: &'a str,
    content: String,
}

#[derive(Serialize)]
struct User<'a> {
    id: &'a str,
    name: &'a str,
}

type Seqs = Arc<Mutex<HashMap<String, u64>>>;

pub(super) fn serve() -> io::Result<()> {
    super::one_core()?.block_on(async {
        let (layer, io) = SocketIo::builder()
            .transports([TransportType::Websocket])
            .max_buffer_size(CAPACITY)
            .build_layer();
        let seqs = Seqs::default();
        let connected = io.clone();
        io.ns("/", async move |socket: SocketRef| meet(&socket, &connected, &seqs));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?.port());
        axum::serve(listener, Router::new().layer(layer)).await
    })
}

fn meet(socket: &SocketRef, io: &SocketIo, seqs: &Seqs) {
    let query = socket.req_parts().uri.query().unwrap_or_default();
    let rooms: Vec<String> = rooms_in(query).map(str::to_owned).collect();
    socket.join(rooms.clone());
    let (io, seqs) = (io.clone(), seqs.clone());
    let first = rooms.into_iter().next().unwrap_or_default();
    socket.on("message", async move |Data::<Input>(input)| {
        let room = input.room_id.unwrap_or(first);
        let seq = {
            let mut seqs = seqs.lock();
            let seq = seqs.entry(room.clone()).or_default();
            *seq += 1;
            *seq
        };
        let message = Message {
            id: "0192f3a4-5b6c-7d8e-9f01-23456789abcd",
            room_id: &room,
            seq,
            user: User { id: "ann", name: "ann" },
            created_at: "2026-01-02T03:04:05.678Z",
            content: input.content,
        };
        // A member whose buffer is full is an error, and no reason to stop.
        let _ = io.to(room.clone()).emit("message", &message).await;
    });
}

/// The rooms in a query, `…&rooms=ROOM,ROOM…`.
fn rooms_in(query: &str) -> impl Iterator<Item = &str> {
    let rooms = query.split('&').find_map(|part| part.strip_prefix("rooms="));
    rooms.unwrap_or_default().split(',')
}

#[cfg(test)]
mod tests {
    #[test]
    fn rooms_are_found_in_a_query() {
        let rooms: Vec<_> = super::rooms_in("EIO=4&transport=websocket&rooms=a,b").collect();
        assert_eq!(rooms, ["a", "b"]);
    }
}
