//! The chat inside an axum server that has its own pages and its own login, by a signed cookie.
//!
//! ```text
//! cargo run -p roomcast-examples --example axum_login
//! ```
//!
//! Open the address that it prints in two browsers and sign in as `ann` with `apple` and as `bob` with `banana`. Or:
//!
//! ```text
//! curl -i -d 'name=ann&password=apple' http://127.0.0.1:8080/login
//! websocat -H 'Cookie: login=…' ws://127.0.0.1:8080/rooms/lobby/live
//! ```
//!
//! A login holds for an hour. The hub knows that too: it closes the connection with 4501 when the hour is over.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::{FromRef, Path, State};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Form, Router};
use axum_extra::extract::SignedCookieJar;
use axum_extra::extract::cookie::{Cookie, Key, SameSite};
use http::StatusCode;
use roomcast_core::{ErrorCode, Hub, MemoryStore, OpenPolicy, Refusal, User};
use roomcast_ws::{ChatUpgrade, Visitor, refusal_response};
use serde::Deserialize;
use tokio::net::TcpListener;

/// How long a login holds.
const HOUR: Duration = Duration::from_secs(3600);

/// Who may sign in. A real server keeps hashes of passwords, in a database.
const USERS: [(&str, &str); 2] = [("ann", "apple"), ("bob", "banana")];

const PAGE: &str = r#"<!doctype html><title>chat</title>
<form method=post action=/login><input name=name placeholder=name>
<input name=password type=password placeholder=password> <button>sign in</button></form>
<pre id=log></pre><input id=say placeholder="say something">
<script>
const chat = new WebSocket(`ws://${location.host}/rooms/lobby/live?last=20`);
chat.onmessage = (event) => {
  const {user, content} = JSON.parse(event.data);
  if (content) log.append(`${user.name}: ${content}\n`);
};
say.onchange = () => { chat.send(JSON.stringify({content: say.value})); say.value = ""; };
</script>"#;

#[derive(Clone)]
struct App {
    hub: Hub,
    /// Signs the cookies. This one is new at each start, which signs everybody out; a real server keeps it.
    key: Key,
}

impl FromRef<App> for Key {
    fn from_ref(app: &App) -> Self {
        app.key.clone()
    }
}

#[derive(Deserialize)]
struct Login {
    name: String,
    password: String,
}

async fn login(jar: SignedCookieJar, Form(login): Form<Login>) -> Response {
    if !USERS.contains(&(login.name.as_str(), login.password.as_str())) {
        return (StatusCode::UNAUTHORIZED, "wrong name or password").into_response();
    }
    // The end stands inside of what is signed: a browser may keep the cookie longer, but that won't help.
    let cookie = Cookie::build(("login", format!("{}:{}", (now() + HOUR).as_secs(), login.name)))
        .path("/")
        .http_only(true)
        .same_site(SameSite::Lax);
    (jar.add(cookie), Redirect::to("/")).into_response()
}

/// Who the cookie says it is, and for how long yet.
fn signed_in(jar: &SignedCookieJar) -> Option<Visitor> {
    let cookie = jar.get("login")?;
    let (end, name) = cookie.value().split_once(':')?;
    let left = Duration::from_secs(end.parse().ok()?).checked_sub(now())?;
    Some(Visitor::new(User::named(name).ok()?).expires_in(left))
}

async fn chat(State(app): State<App>, jar: SignedCookieJar, Path(room): Path<String>, chat: ChatUpgrade) -> Response {
    match signed_in(&jar) {
        Some(visitor) => chat.room(room).serve(&app.hub, visitor).await,
        None => refusal_response(&Refusal::new(ErrorCode::Unauthenticated, "sign in first")).into_response(),
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let hub = Hub::builder(MemoryStore::new(), OpenPolicy).build()?;
    let app = Router::new()
        .route("/", get(Html(PAGE)))
        .route("/login", post(login))
        .route("/rooms/{room}/live", get(chat))
        .with_state(App {
            hub: hub.clone(),
            key: Key::generate(),
        });
    let socket = TcpListener::bind(roomcast_examples::address()).await?;
    println!("listening on http://{}", socket.local_addr()?);

    let draining = hub.clone();
    let server = axum::serve(socket, app).with_graceful_shutdown(async move { draining.draining().await });
    let server = tokio::spawn(server.into_future());
    tokio::signal::ctrl_c().await?;
    hub.shutdown(Duration::from_secs(10)).await;
    // Answers that are under way get their time. A request of which half has come could keep us for ever.
    if let Ok(ended) = tokio::time::timeout(Duration::from_secs(1), server).await {
        ended??;
    }
    Ok(())
}
