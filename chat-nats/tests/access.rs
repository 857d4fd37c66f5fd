//! Signing in, TLS, and settings that can't be used.

mod common;

use std::time::Duration;

use common::nodes::{Listener, complaint, healthy, hub_on, say};
use common::server::Server;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use roomcast_core::MemoryStore;
use roomcast_nats::{Builder, NatsBus};
use roomcast_testkit::bus::SharedStore;

/// Two hubs with these settings hear each other.
async fn works(builder: impl Fn() -> Builder) {
    let store = SharedStore::new(MemoryStore::new());
    let one = hub_on(&store, builder().connect().await.unwrap());
    let two = hub_on(&store, builder().connect().await.unwrap());
    for hub in [&one, &two] {
        healthy(hub).await;
    }
    let mut ann = Listener::join(&one, "ann", "r").await;
    for text in ["1", "2", "3"] {
        say(&two, "r", text).await;
        ann.sees(text).await;
    }
    drop(ann);
    for hub in [one, two] {
        assert!(hub.shutdown(Duration::from_secs(5)).await.is_clean());
    }
}

/// A hub with these settings serves, and says this of its bus.
async fn is_refused(builder: Builder, why: &str) {
    let store = SharedStore::new(MemoryStore::new());
    let hub = hub_on(&store, builder.connect().await.unwrap());
    let complained = complaint(&hub).await.expect("the bus isn't let in");
    assert!(complained.contains(why), "{complained}");
    assert!(!complained.contains("secret"), "{complained}");
    let mut ann = Listener::join(&hub, "ann", "r").await;
    say(&hub, "r", "hi").await;
    ann.sees("hi").await;
    drop(ann);
    assert!(hub.shutdown(Duration::from_secs(5)).await.is_clean());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_signs_in() {
    let server = Server::start_with(&["--user", "hub", "--pass", "a secret@:/%"]);
    let address = server.address();
    works(|| NatsBus::builder(server.url()).user_and_password("hub", "a secret@:/%")).await;
    works(|| NatsBus::builder(format!("nats://hub:a%20secret%40%3A%2F%25@{address}"))).await;
    let refused = "authorization violation";
    is_refused(NatsBus::builder(server.url()), refused).await;
    is_refused(
        NatsBus::builder(server.url()).user_and_password("hub", "another secret"),
        refused,
    )
    .await;
    is_refused(NatsBus::builder(format!("nats://hub:secret@{address}")), refused).await;
    is_refused(NatsBus::builder(server.url()).token("secret"), refused).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_signs_in() {
    let server = Server::start_with(&["--auth", "a-secret"]);
    let address = server.address();
    works(|| NatsBus::builder(server.url()).token("a-secret")).await;
    works(|| NatsBus::builder(format!("nats://a-secret@{address}"))).await;
    is_refused(
        NatsBus::builder(server.url()).token("another-secret"),
        "authorization violation",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_signs_in() {
    let keys = nkeys::KeyPair::new_user();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("keys.conf");
    let text = format!("authorization: {{ users: [ {{ nkey: {} }} ] }}\n", keys.public_key());
    std::fs::write(&config, text).unwrap();
    let server = Server::start_with(&["--config", config.to_str().unwrap()]);
    let seed = keys.seed().unwrap();
    works(|| NatsBus::builder(server.url()).nkey(&seed)).await;
    let other = nkeys::KeyPair::new_user().seed().unwrap();
    is_refused(NatsBus::builder(server.url()).nkey(other), "authorization violation").await;
}

/// The permission that the documentation says is enough.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_needs_its_own_subjects_alone() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("permissions.conf");
    let text = r#"authorization: { users: [ { user: hub, password: pw, permissions: { publish: "roomcast.>", subscribe: "roomcast.>" } } ] }"#;
    std::fs::write(&config, text).unwrap();
    let server = Server::start_with(&["--config", config.to_str().unwrap()]);
    works(|| NatsBus::builder(server.url()).user_and_password("hub", "pw")).await;
    let other = NatsBus::builder(server.url())
        .user_and_password("hub", "pw")
        .prefix("other");
    is_refused(other, "Permissions Violation").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_is_checked() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    for (ca, names) in [("ca", Some("server")), ("other", None)] {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(path(&format!("{ca}.pem")), issuer.pem()).unwrap();
        if let Some(name) = names {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
            let certificate = params.signed_by(&key, &issuer).unwrap();
            std::fs::write(path(&format!("{name}.pem")), certificate.pem()).unwrap();
            std::fs::write(path(&format!("{name}.key")), key.serialize_pem()).unwrap();
        }
    }
    let server = Server::start_with(&[
        "--tls",
        "--tlscert",
        &path("server.pem"),
        "--tlskey",
        &path("server.key"),
    ]);
    let (tls, plain) = (
        format!("tls://localhost:{}", server.port()),
        format!("nats://localhost:{}", server.port()),
    );
    works(|| NatsBus::builder(&tls).ca_file(path("ca.pem"))).await;
    // The server asks for TLS by itself.
    works(|| NatsBus::builder(&plain).ca_file(path("ca.pem"))).await;
    is_refused(NatsBus::builder(&tls).ca_file(path("other.pem")), "certificate").await;
    is_refused(NatsBus::builder(&tls), "certificate").await;
    let another_name = format!("tls://127.0.0.1:{}", server.port());
    is_refused(NatsBus::builder(another_name).ca_file(path("ca.pem")), "certificate").await;
    // A server that knows no TLS isn't spoken to without it.
    let plain = Server::start();
    is_refused(
        NatsBus::builder(format!("tls://localhost:{}", plain.port())).ca_file(path("ca.pem")),
        "",
    )
    .await;
}

#[tokio::test]
async fn settings_that_can_not_be_used_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("nothing"), "nothing").unwrap();
    let good = || NatsBus::builder("nats://127.0.0.1:1");
    for (builder, why) in [
        (NatsBus::builder(""), "it is empty"),
        (NatsBus::builder("nats://a,,nats://b"), "it is empty"),
        (NatsBus::builder("nats://"), "can't be used"),
        (
            NatsBus::builder("redis://:secret@a"),
            "invalid scheme for NATS server URL: redis",
        ),
        (NatsBus::builder("ws://a"), "it begins with ws://"),
        (NatsBus::builder("nats://a:port"), "invalid port"),
        (NatsBus::builder("nats://a:99999"), "invalid port"),
        (NatsBus::builder("nats://a/prefix"), "after the port"),
        (
            NatsBus::builder("nats://secret@a").token("other"),
            "several ways to sign in",
        ),
        (
            NatsBus::builder("nats://x:secret@a,nats://y:secret@b"),
            "several ways to sign in",
        ),
        (NatsBus::builder("nats://%ff@a"), "no UTF-8"),
        (good().prefix("a b"), "can't be the prefix"),
        (good().prefix(""), "can't be the prefix"),
        (good().prefix("roomcast.>"), "can't be the prefix"),
        (good().nkey("secret"), "no seed"),
        (good().nkey(""), "no seed"),
        (
            good().credentials_file(path("missing")),
            "missing can't be used: No such file",
        ),
        (
            good().credentials_file(path("nothing")),
            "nothing can't be used: cannot parse user JWT",
        ),
        (good().ca_file(path("missing")), "missing can't be used for TLS"),
        (good().ca_file(path("nothing")), "holds no certificate"),
        (
            good().client_certificate(path("nothing"), path("missing")),
            "missing can't be used for TLS",
        ),
    ] {
        let error = builder.connect().await.expect_err(why).to_string();
        assert!(error.contains(why), "{why}: {error}");
        assert!(!error.contains("secret"), "{error}");
        assert!(!format!("{:?}", NatsBus::builder("nats://secret@a").token("secret")).contains("secret"));
    }
}
