//! The settings of a bus.

use std::path::PathBuf;

use async_nats::{ConnectOptions, ServerAddr};
use percent_encoding::percent_decode_str;

use crate::NatsBus;
use crate::link::{CONNECTING, PING, UNREAD, WITHIN};
use crate::subject::{Subjects, is_prefix};
use crate::tls;

/// A setting that can't be used. The text says what is wrong and what is allowed; it holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidSetting(String);

impl InvalidSetting {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// How to sign in.
#[derive(Clone)]
enum Login {
    CredentialsFile(PathBuf),
    Nkey(String),
    Token(String),
    User(String, String),
}

/// How a bus is connected: [`NatsBus::builder`].
#[derive(Clone)]
pub struct Builder {
    servers: String,
    logins: Vec<Login>,
    ca_file: Option<PathBuf>,
    client_certificate: Option<(PathBuf, PathBuf)>,
    prefix: String,
    name: String,
}

/// Without the addresses and what signs in: they hold secrets.
impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder")
            .field("ca_file", &self.ca_file)
            .field("prefix", &self.prefix)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Builder {
    pub(crate) fn new(servers: String) -> Self {
        Self {
            servers,
            logins: Vec::new(),
            ca_file: None,
            client_certificate: None,
            prefix: "roomcast".to_owned(),
            name: "roomcast".to_owned(),
        }
    }

    /// Signs in with a user's JWT and key, from a `.creds` file as `nsc` writes it. One way to sign in at most may be given.
    #[must_use]
    pub fn credentials_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.logins.push(Login::CredentialsFile(path.into()));
        self
    }

    /// Signs in with the seed of a user's nkey (`SU…`).
    #[must_use]
    pub fn nkey(mut self, seed: impl Into<String>) -> Self {
        self.logins.push(Login::Nkey(seed.into()));
        self
    }

    /// Signs in with a token.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.logins.push(Login::Token(token.into()));
        self
    }

    /// Signs in with a name and a password.
    #[must_use]
    pub fn user_and_password(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.logins.push(Login::User(user.into(), password.into()));
        self
    }

    /// A PEM file of the certificate authorities that servers' certificates must come from; by default those that the system
    /// trusts. TLS is used where the address begins with `tls://` or the server asks for it.
    #[must_use]
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.ca_file = Some(path.into());
        self
    }

    /// PEM files of a certificate chain and its key, to show to the server.
    #[must_use]
    pub fn client_certificate(mut self, chain: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.client_certificate = Some((chain.into(), key.into()));
        self
    }

    /// What all subjects begin with; `roomcast` by default. Hubs hear each other if they have the same: give each store's hubs
    /// their own. Letters and digits of ASCII, `-` and `_`, with dots between tokens; 64 bytes at most.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// The name of the connection, as NATS shows it to operators; `roomcast` by default.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Starts the bus on the current tokio runtime. It waits for the first try to connect, and not for its success: a hub may be
    /// up before NATS is. Why there is no connection is written to the log and told by
    /// [`Hub::bus_health`](roomcast_core::Hub::bus_health).
    ///
    /// # Errors
    ///
    /// [`InvalidSetting`] if an address or another setting can't be used, or a file can't be read.
    pub async fn connect(self) -> Result<NatsBus, InvalidSetting> {
        if !is_prefix(&self.prefix) {
            return Err(InvalidSetting::new(format!(
                "{:?} can't be the prefix of subjects: allowed are letters and digits of ASCII, - and _, with dots between tokens, \
                 64 bytes at most",
                self.prefix
            )));
        }
        let (servers, options) = tokio::task::spawn_blocking({
            let builder = self.clone();
            move || builder.read()
        })
        .await
        .map_err(|error| InvalidSetting::new(error.to_string()))??;
        let subjects = Subjects::new(self.prefix);
        let options = options.custom_inbox_prefix(subjects.replies());
        Ok(NatsBus::start(options, servers, subjects).await)
    }

    /// Reads files and addresses.
    fn read(mut self) -> Result<(Vec<ServerAddr>, ConnectOptions), InvalidSetting> {
        let servers = self.servers.split(',').map(str::trim).map(address);
        let servers = servers.collect::<Result<Vec<_>, _>>()?;
        for (at, server) in servers.iter().enumerate() {
            let Some(login) = login_of(server)? else { continue };
            // All of one cluster take the same.
            let known = at > 0 && login_of(&servers[0])?.is_some_and(|first| first.is(&login));
            if !known {
                self.logins.push(login);
            }
        }
        if self.logins.len() > 1 {
            return Err(InvalidSetting::new(
                "there are several ways to sign in to NATS: give one, in the address or as a setting",
            ));
        };
        let tls = tls::config(self.ca_file.as_deref(), self.client_certificate.as_ref())?;
        let options = ConnectOptions::new()
            .name(&self.name)
            .no_echo()
            .connection_timeout(CONNECTING)
            .ping_interval(PING)
            .subscription_capacity(UNREAD)
            .client_capacity(WITHIN)
            // Pauses are made between clients.
            .reconnect_delay_callback(|_| std::time::Duration::ZERO)
            .require_tls(servers.iter().any(ServerAddr::tls_required))
            .tls_client_config(tls);
        let options = match self.logins.pop() {
            Some(login) => login.apply(options)?,
            None => options,
        };
        Ok((servers, options))
    }
}

impl Login {
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Token(a), Self::Token(b)) => a == b,
            (Self::User(a, x), Self::User(b, y)) => (a, x) == (b, y),
            _ => false,
        }
    }

    fn apply(self, options: ConnectOptions) -> Result<ConnectOptions, InvalidSetting> {
        Ok(match self {
            Self::CredentialsFile(path) => {
                let wrong = |error: std::io::Error| {
                    InvalidSetting::new(format!(
                        "the credentials file {} can't be used: {error}",
                        path.display()
                    ))
                };
                let text = std::fs::read_to_string(&path).map_err(wrong)?;
                options.credentials(&text).map_err(wrong)?
            }
            Self::Nkey(seed) => {
                let seed = seed.trim().to_owned();
                nkeys::KeyPair::from_seed(&seed).map_err(|error| {
                    InvalidSetting::new(format!("the nkey is no seed of a user's key (SU…): {error}"))
                })?;
                options.nkey(seed)
            }
            Self::Token(token) => options.token(token),
            Self::User(user, password) => options.user_and_password(user, password),
        })
    }
}

/// An address without its login would still hold it in errors, so errors don't show it.
fn address(text: &str) -> Result<ServerAddr, InvalidSetting> {
    let wrong = |why: &str| {
        InvalidSetting::new(format!(
            "an address of NATS can't be used: {why}; allowed are nats://HOST:PORT and tls://HOST:PORT, with commas between several"
        ))
    };
    if text.is_empty() {
        return Err(wrong("it is empty"));
    }
    let server: ServerAddr = text
        .parse()
        .map_err(|error: std::io::Error| wrong(&error.to_string()))?;
    if !matches!(server.scheme(), "nats" | "tls") {
        return Err(wrong(&format!("it begins with {}://", server.scheme())));
    }
    if server.host().is_empty() {
        return Err(wrong("it names no host"));
    }
    let url = server.clone().into_inner();
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("there is something after the port"));
    }
    Ok(server)
}

/// What the address signs in with. async-nats itself passes it over.
fn login_of(server: &ServerAddr) -> Result<Option<Login>, InvalidSetting> {
    let decoded = |text: &str| match percent_decode_str(text).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(InvalidSetting::new("what signs in, in an address of NATS, is no UTF-8")),
    };
    Ok(match (server.username(), server.password()) {
        (None, None) => None,
        (Some(token), None) => Some(Login::Token(decoded(token)?)),
        (user, Some(password)) => Some(Login::User(decoded(user.unwrap_or_default())?, decoded(password)?)),
    })
}
