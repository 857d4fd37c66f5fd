//! A way to a server that can be cut and blocked.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, tcp};
use tokio::sync::watch;
use tokio::task::JoinHandle;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    Open,
    /// Connections are closed, and new ones as well.
    Cut,
    /// Connections stay, but nothing gets through.
    Blocked,
}

/// Passes connections on to a server.
pub(crate) struct Proxy {
    address: String,
    way: Arc<watch::Sender<Way>>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Within a runtime.
    pub(crate) fn to(server: String) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let way = Arc::new(watch::Sender::new(Way::Open));
        let seen = way.clone();
        let task = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                if *seen.borrow() != Way::Cut
                    && let Ok(server) = TcpStream::connect(&server).await
                {
                    let mut cut = seen.subscribe();
                    let (way_out, way_back) = (seen.subscribe(), seen.subscribe());
                    let (client, server) = (client.into_split(), server.into_split());
                    tokio::spawn(async move {
                        tokio::select! {
                            () = pass(client.0, server.1, way_out) => {}
                            () = pass(server.0, client.1, way_back) => {}
                            _ = cut.wait_for(|way| *way == Way::Cut) => {}
                        }
                    });
                }
            }
        });
        Self { address, way, task }
    }

    /// An address by which the driver finds no other way.
    pub(crate) fn uri(&self) -> String {
        format!("mongodb://{}/?directConnection=true", self.address)
    }

    pub(crate) fn open(&self) {
        self.way.send_replace(Way::Open);
    }

    pub(crate) fn cut(&self) {
        self.way.send_replace(Way::Cut);
    }

    pub(crate) fn block(&self) {
        self.way.send_replace(Way::Blocked);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
        self.task.abort();
    }
}

async fn pass(mut from: tcp::OwnedReadHalf, mut to: tcp::OwnedWriteHalf, mut way: watch::Receiver<Way>) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let open = way.wait_for(|way| *way != Way::Blocked).await.is_ok();
        if !open || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
