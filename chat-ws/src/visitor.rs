//! Who asks to be let in.

use std::net::SocketAddr;
use std::time::Duration;

use roomcast_core::User;

/// Who asks to be let in, as the server that embeds the chat knows it. A [`User`] is one.
///
/// ```
/// # use std::time::Duration;
/// # use roomcast_core::User;
/// # use roomcast_ws::Visitor;
/// let ann = Visitor::new(User::named("ann")?).expires_in(Duration::from_secs(3600));
/// # Ok::<(), roomcast_core::InvalidName>(())
/// ```
#[derive(Debug, Clone)]
pub struct Visitor {
    pub(crate) user: User,
    pub(crate) expires_in: Option<Duration>,
    pub(crate) remote: Option<SocketAddr>,
}

impl Visitor {
    /// A visitor whose identity doesn't expire.
    #[must_use]
    pub fn new(user: User) -> Self {
        Self {
            user,
            expires_in: None,
            remote: None,
        }
    }

    /// For how long the identity holds; then the connection is closed with 4501.
    #[must_use]
    pub fn expires_in(mut self, span: Duration) -> Self {
        self.expires_in = Some(span);
        self
    }

    /// Where the visitor comes from, for the logs. The listener knows it by itself; this overrides what it knows, with
    /// what a proxy says for example.
    #[must_use]
    pub fn remote(mut self, address: SocketAddr) -> Self {
        self.remote = Some(address);
        self
    }
}

impl From<User> for Visitor {
    fn from(user: User) -> Self {
        Self::new(user)
    }
}
