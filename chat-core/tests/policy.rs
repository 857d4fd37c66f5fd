//! What the policy forbids doesn't happen, in whichever way it is tried.

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use common::{OPEN, Peer, Seen, room, user, v1};
use roomcast_core::{
    Client, Denied, Draft, ErrorCode, HistoryRange, Hub, Inbound, Limits, MemoryStore, Message, MessageId, Policy,
    RoomId, Start, User,
};
use serde_json::{Value, json};
use tokio::time::timeout;

/// Says no to the verbs that it is told, and makes what is said louder.
#[derive(Clone, Default)]
struct Says(Arc<Mutex<Vec<&'static str>>>);

impl Says {
    fn no_to(&self, verbs: &[&'static str]) {
        *self.0.lock().unwrap() = verbs.to_vec();
    }

    fn answer(&self, verb: &str) -> Result<(), Denied> {
        if self.0.lock().unwrap().contains(&verb) {
            Err(Denied::forbidden(format!("no {verb}")))
        } else {
            Ok(())
        }
    }
}

#[async_trait]
impl Policy for Says {
    async fn join(&self, _: &User, _: &RoomId) -> Result<(), Denied> {
        self.answer("join")
    }
    async fn send(&self, _: &User, _: &RoomId, draft: &mut Draft) -> Result<(), Denied> {
        draft.content = draft.content.take().map(|content| content.replace('.', "!"));
        self.answer("send")
    }
    async fn edit(&self, _: &User, _: &Message, content: &mut String) -> Result<(), Denied> {
        *content = content.replace('.', "!");
        self.answer("edit")
    }
    async fn delete(&self, _: &User, _: &Message) -> Result<(), Denied> {
        self.answer("delete")
    }
    async fn history(&self, _: &User, _: &RoomId) -> Result<(), Denied> {
        self.answer("history")
    }
    async fn presence(&self, _: &User, _: &RoomId) -> Result<(), Denied> {
        self.answer("presence")
    }
}

fn hub() -> (Hub, Says) {
    let mut limits = Limits::default();
    limits.rate = None;
    let says = Says::default();
    let hub = Hub::builder(MemoryStore::new(), says.clone()).limits(limits);
    (hub.build().unwrap(), says)
}

async fn head(hub: &Hub) -> u64 {
    hub.room(room("r")).head().await.unwrap().unwrap().head
}

async fn err(peer: &mut Peer, request: Value) -> Value {
    peer.send(request);
    let frame = peer.frame().await;
    assert_eq!(frame["t"], "err", "{frame}");
    frame
}

#[tokio::test(start_paused = true)]
async fn no_to_each_verb_on_a_connection() {
    let (hub, says) = hub();
    let mut ann = Peer::connect_with(&hub, v1("ann", "r"), OPEN, false);
    ann.frame_of("hello").await;
    let secret = hub
        .publish(&room("r"), &user("ann"), Draft::text("secret"))
        .await
        .unwrap();
    ann.frame().await;
    let id = secret.id.to_string();
    let since = format!("{}:0", hub.room(room("r")).head().await.unwrap().unwrap().epoch);
    let cases = [
        ("send", json!({"t":"send","id":1,"content":"x"})),
        ("edit", json!({"t":"edit","id":1,"msg":id,"content":"x"})),
        ("delete", json!({"t":"delete","id":1,"msg":id})),
        ("history", json!({"t":"history","id":1})),
        ("history", json!({"t":"join","id":1,"room_id":"r","since":since})),
        ("history", json!({"t":"join","id":1,"room_id":"r","last":1})),
        ("history", json!({"t":"join","id":1,"room_id":"r","last":0})),
        ("presence", json!({"t":"join","id":1,"room_id":"r","presence":true})),
        ("join", json!({"t":"join","id":1,"room_id":"other"})),
    ];
    for (verb, request) in cases {
        says.no_to(&[verb]);
        let err = err(&mut ann, request).await;
        assert_eq!(
            (&err["id"], &err["code"], &err["message"]),
            (&json!(1), &json!("forbidden"), &json!(format!("no {verb}")))
        );
    }
    assert_eq!(head(&hub).await, 1, "nothing was stored");
    says.no_to(&[]);
    ann.send(json!({"t":"send","id":2,"content":"hi."}));
    assert_eq!(ann.frame_of("ack").await["seq"], 2);
}

#[tokio::test(start_paused = true)]
async fn no_to_each_verb_of_a_caller() {
    let (hub, says) = hub();
    let lobby = hub.room(room("r"));
    let id = lobby.publish(&user("ann"), Draft::text("secret")).await.unwrap().id;
    let ann = lobby.as_user(user("ann"));
    let code = |refusal: roomcast_core::Refusal| refusal.code;
    for (verb, other) in [
        ("join", "join"),
        ("send", "edit"),
        ("edit", "delete"),
        ("delete", "history"),
        ("history", "presence"),
    ] {
        says.no_to(&[verb, other]);
        let of = |name: &str| verb == "join" || name == verb || name == other;
        let said = ann.send(Draft::text("x")).await.map(drop).map_err(code);
        assert_eq!(said.is_err(), of("send"), "{said:?}");
        let edited = ann.edit(id, "x").await.map(drop).map_err(code);
        assert_eq!(edited.is_err(), of("edit"), "{edited:?}");
        let history = ann.history(HistoryRange::Newest, None).await.map(drop).map_err(code);
        assert_eq!(history.is_err(), of("history"), "{history:?}");
        let found = ann.search("secret", None, None).await.map(drop).map_err(code);
        assert_eq!(found.is_err(), of("history"), "{found:?}");
        let present = ann.presence().await.map(drop).map_err(code);
        assert_eq!(present.is_err(), of("presence"), "{present:?}");
        if of("delete") {
            assert_eq!(ann.delete(id).await.map_err(code), Err(ErrorCode::Forbidden));
        }
        for refused in [said, edited, history, found, present]
            .into_iter()
            .filter_map(Result::err)
        {
            assert_eq!(refused, ErrorCode::Forbidden);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_may_not_be_let_in_is_refused_before_anything_is_made() {
    let (hub, says) = hub();
    says.no_to(&["join"]);
    for client in [v1("ann", "r"), Client::plain(user("ann"), room("r"))] {
        assert_eq!(hub.admit(client).await.unwrap_err().code, ErrorCode::Forbidden);
    }
    says.no_to(&["history"]);
    for start in [Start::Last(1), Start::Since("e:0".parse().unwrap())] {
        let refused = hub.admit(v1("ann", "r").start(start)).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::Forbidden);
    }
    says.no_to(&["presence"]);
    let refused = hub.admit(v1("ann", "r").presence(true)).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Forbidden);
    assert_eq!(hub.rooms(None, 10).await.unwrap(), []);
    assert_eq!((hub.stats().connections, hub.stats().rooms), (0, 0));
    hub.admit(v1("ann", "r")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_plain_client_that_may_not_speak_is_closed() {
    let (hub, says) = hub();
    says.no_to(&["send"]);
    let mut ann = Peer::connect(&hub, Client::plain(user("ann"), room("r")));
    ann.send(json!({"content":"x"}));
    assert_eq!(ann.next().await, Seen::Close(4502, "forbidden".into()));
    ann.send_raw(Inbound::Closed);
    assert_eq!(head(&hub).await, 0);
}

#[tokio::test(start_paused = true)]
async fn what_the_policy_changes_is_what_is_said() {
    let (hub, _) = hub();
    let mut ann = Peer::connect_with(&hub, v1("ann", "r"), OPEN, false);
    ann.frame_of("hello").await;
    ann.send(json!({"t":"send","nonce":"n","content":"hi."}));
    let ack = ann.frame_of("ack").await;
    // The nonce goes by what the sender sent.
    ann.send(json!({"t":"send","nonce":"n","content":"hi."}));
    assert_eq!(ann.frame_of("ack").await["dup"], true);
    ann.send(json!({"t":"edit","msg":ack["msg"],"content":"ho."}));
    assert_eq!(ann.frame_of("edit").await["content"], "ho!");
}

#[tokio::test(start_paused = true)]
async fn a_reply_names_a_message_of_its_room() {
    let (hub, _) = hub();
    let question = hub
        .publish(&room("r"), &user("bob"), Draft::text("why?"))
        .await
        .unwrap();
    let elsewhere = hub
        .publish(&room("s"), &user("bob"), Draft::text("why?"))
        .await
        .unwrap();
    let mut ann = Peer::connect_with(&hub, v1("ann", "r"), OPEN, false);
    ann.frame_of("hello").await;
    ann.send(json!({"t":"send","id":1,"content":"because","reply_to":question.id}));
    let mut seen = [ann.frame().await, ann.frame().await];
    seen.sort_by_key(|frame| frame["t"] == "ack");
    assert_eq!(seen[0]["reply_to"], json!(question.id));
    for id in [elsewhere.id, MessageId::from_u128(7)] {
        let err = err(&mut ann, json!({"t":"send","id":2,"content":"because","reply_to":id})).await;
        assert_eq!((&err["id"], &err["code"]), (&json!(2), &json!("not_found")));
    }
    // A deleted message is still one to answer; the answer keeps its reference.
    hub.room(room("r"))
        .as_user(user("bob"))
        .delete(question.id)
        .await
        .unwrap();
    ann.frame_of("delete").await;
    ann.send(json!({"t":"send","id":3,"content":"late","reply_to":question.id}));
    assert_eq!(ann.frame_of("ack").await["id"], 3);
    let quiet = timeout(Duration::from_secs(1), async {
        while ann.frame().await["t"] != "err" {}
    })
    .await;
    assert!(quiet.is_err());
}
