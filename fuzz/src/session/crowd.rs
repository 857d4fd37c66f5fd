//! The clients of a run, what they know of the rooms together, and how they end.

use std::collections::HashMap;
use std::time::Duration;

use roomcast_core::{Client, Hub};
use tokio::time::timeout;

use super::peer::{Asked, News, Peer, asked};
use super::script::Start;

/// Two connections of one user, and one of another.
pub const USERS: [&str; 3] = ["ann", "bob", "ann"];

#[derive(Default)]
pub struct Crowd {
    /// One for each of the users above.
    places: [Option<Peer>; 3],
    /// Peers whose place another one took.
    gone: Vec<Peer>,
    /// The newest cursor that anybody has of a room.
    cursors: HashMap<String, (String, u64)>,
}

impl Crowd {
    /// The place that is meant.
    pub fn place(place: u8) -> usize {
        usize::from(place) % USERS.len()
    }

    /// The client in this place, if there is one.
    pub fn at(&mut self, place: usize) -> Option<&mut Peer> {
        self.places[place].as_mut()
    }

    /// How a start is said of this room.
    pub fn asked(&self, room: &str, start: Start) -> Asked {
        asked(start, self.cursors.get(room))
    }

    /// A client takes this place, and begins in the room like this if there is one. It takes so many frames at first, or all.
    pub fn connect(
        &mut self,
        hub: &Hub,
        place: usize,
        client: Client,
        begins: Option<(&str, Start)>,
        window: Option<u8>,
    ) {
        if let Some(mut before) = self.places[place].take() {
            before.hang_up();
            self.gone.push(before);
        }
        let first = begins.map(|(room, start)| self.asked(room, start));
        let client = client.start(match &first {
            None | Some(Asked::Live) => roomcast_core::Start::Live,
            Some(Asked::Last(count)) => roomcast_core::Start::Last(*count as usize),
            Some(Asked::Since { epoch, seq }) => {
                roomcast_core::Start::Since(format!("{epoch}:{seq}").parse().expect("a cursor"))
            }
        });
        let window = window.map_or(1 << 20, usize::from);
        self.places[place] = Some(Peer::connect(hub, client, window, first, USERS[place]));
    }

    pub fn peers(&self) -> impl Iterator<Item = &Peer> {
        self.gone.iter().chain(self.places.iter().flatten())
    }

    /// Looks at what every client got, and takes in what it says of the rooms.
    pub fn look(&mut self) -> Vec<News> {
        let mut news = Vec::new();
        for peer in self.gone.iter_mut().chain(self.places.iter_mut().flatten()) {
            peer.look(&mut news);
        }
        for news in &news {
            match news {
                News::Entry { room, seq, .. } => {
                    if let Some((_, known)) = self.cursors.get_mut(room) {
                        *known = (*seq).max(*known);
                    }
                }
                News::Room { room, epoch } => {
                    let known = self.cursors.entry(room.clone()).or_insert_with(|| (epoch.clone(), 0));
                    assert_eq!(known.0, *epoch, "a room has one log");
                }
                News::Acked { .. } => {}
            }
        }
        news
    }

    /// Everybody takes all from now on.
    pub fn take_all(&self) {
        self.peers().for_each(|peer| peer.window.add_permits(1 << 20));
    }

    /// Those whose connections live. The others have ended, as they should have by now, and the living are at the heads of their
    /// rooms.
    pub fn living(&self, head: impl Fn(&str) -> u64) -> impl Iterator<Item = &Peer> {
        self.peers().filter(move |peer| {
            let ended = peer.task.is_finished();
            assert!(ended || !peer.hung_up(), "the connection of {} doesn't end", peer.user);
            assert!(
                ended || peer.closed.is_none(),
                "a closed connection of {} doesn't end",
                peer.user
            );
            if !ended {
                for (room, due) in peer.due() {
                    assert_eq!(due, head(room) + 1, "{} isn't at the head of {room}", peer.user);
                }
            }
            !ended
        })
    }

    /// The hub has stopped, and all connections with it.
    pub async fn end(self) {
        for peer in self.gone.into_iter().chain(self.places.into_iter().flatten()) {
            let ended = timeout(Duration::from_secs(5), peer.task).await;
            ended.expect("the connection ends").expect("no panic").ok();
        }
    }
}
