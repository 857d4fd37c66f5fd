//! A `nats-server` of a test's own.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use chat_driver::supervised::{Recipe, Supervised, program};

/// A server on a free port of the loopback. Dropped, it is killed.
pub(crate) struct Server(Supervised);

impl Server {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// With these options besides.
    pub(crate) fn start_with(options: &[&str]) -> Self {
        let recipe = Recipe {
            name: "nats-server",
            program: &program("nats-server", "NATS_SERVER", "nats"),
            shell: &["sh"],
            before: "",
            after: "",
            starting: Duration::from_secs(30),
        };
        let server = Supervised::start(&recipe, |_, port| {
            let mut arguments = ["--addr", "127.0.0.1", "--port"].map(str::to_owned).to_vec();
            arguments.push(port.to_string());
            arguments.extend(options.iter().map(|option| (*option).to_owned()));
            arguments
        });
        Self(server.unwrap_or_else(|text| panic!("{text}")))
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://{}", self.address())
    }
}

impl Deref for Server {
    type Target = Supervised;

    fn deref(&self) -> &Supervised {
        &self.0
    }
}

impl DerefMut for Server {
    fn deref_mut(&mut self) -> &mut Supervised {
        &mut self.0
    }
}
