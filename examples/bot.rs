//! Two bots on the server's side: one that speaks by itself, and one that listens and answers.
//!
//! ```text
//! cargo run -p roomcast-examples --example bot 8080 60
//! websocat ws://127.0.0.1:8080/ws/lobby?user=ann     # in a second terminal
//! ```
//!
//! Type `{"content":"!who"}`, and the bot says who is there. Every 60 seconds (the second argument) another one says how
//! many are. Ctrl-C stops the server.

use std::time::Duration;

use roomcast_core::{
    Bytes, Client, CloseFrame, Connection, ConnectionError, ConnectionReader, ConnectionWriter, Draft, Hub, Inbound,
    MemoryStore, Message, OpenPolicy, Room, RoomId, User,
};
use roomcast_ws::Listener;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{interval, sleep};

/// A bot is a client like any other, but its connection is a queue: what the hub writes is what it hears, and what
/// the hub reads is what it says.
struct Bot {
    room: Room,
    user: User,
}

struct Ears {
    bot: Bot,
    /// `None` once the hub has said goodbye, so that the mouth falls silent too.
    answers: Option<mpsc::Sender<String>>,
}

struct Mouth(mpsc::Receiver<String>);

impl Connection for Bot {
    type Reader = Mouth;
    type Writer = Ears;

    fn split(self) -> (Mouth, Ears) {
        let (sender, receiver) = mpsc::channel(16);
        let ears = Ears {
            bot: self,
            answers: Some(sender),
        };
        (Mouth(receiver), ears)
    }
}

impl Bot {
    fn answer(&self, message: &Message) -> Option<String> {
        if message.user == self.user || message.content.as_deref() != Some("!who") {
            return None;
        }
        let members = self.room.members();
        let names: Vec<_> = members.iter().map(User::name).collect();
        Some(json!({ "content": names.join(", "), "reply_to": message.id }).to_string())
    }
}

impl ConnectionWriter for Ears {
    async fn send(&mut self, frames: &[Bytes]) -> Result<(), ConnectionError> {
        for frame in frames {
            let Ok(message) = serde_json::from_slice(frame) else {
                continue;
            };
            if let (Some(answer), Some(answers)) = (self.bot.answer(&message), &self.answers) {
                // Who is asked more than can be answered doesn't answer everything.
                let _ = answers.try_send(answer);
            }
        }
        Ok(())
    }

    async fn ping(&mut self) -> Result<bool, ConnectionError> {
        Ok(false)
    }

    async fn close(&mut self, _: &CloseFrame) -> Result<(), ConnectionError> {
        self.answers = None;
        Ok(())
    }
}

impl ConnectionReader for Mouth {
    async fn recv(&mut self) -> Result<Inbound, ConnectionError> {
        let Some(answer) = self.0.recv().await else {
            return Ok(Inbound::Closed);
        };
        // The rate limit goes for bots as well: 20 messages a second.
        sleep(Duration::from_millis(60)).await;
        Ok(Inbound::Text(answer.into()))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let hub = Hub::builder(MemoryStore::new(), OpenPolicy).build()?;
    let lobby = hub.room(RoomId::new("lobby")?);
    let listener = Listener::bind(
        roomcast_examples::address(),
        hub.clone(),
        roomcast_examples::name_in_query,
    )
    .await?;

    let user = User::named("who-bot")?;
    let admission = hub.admit(Client::plain(user.clone(), lobby.id().clone())).await?;
    let bot = Bot {
        room: lobby.clone(),
        user,
    };
    hub.spawn(async {
        admission.serve(bot).await;
    });

    let clock = User::named("count-bot")?;
    let seconds = std::env::args().nth(2).map_or(Ok(60), |text| text.parse())?;
    let (room, draining) = (lobby.clone(), hub.clone());
    hub.spawn(async move {
        let mut ticks = interval(Duration::from_secs(seconds));
        let speaking = async {
            loop {
                ticks.tick().await;
                let text = format!("{} connections are in this room", room.online());
                if let Err(refusal) = room.publish(&clock, Draft::text(text)).await {
                    eprintln!("the bot wasn't heard: {}", refusal.message);
                }
            }
        };
        tokio::select! {
            () = speaking => {}
            () = draining.draining() => {}
        }
    });
    roomcast_examples::run(listener, &hub).await?;
    Ok(())
}
