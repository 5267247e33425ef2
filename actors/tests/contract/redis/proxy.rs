//! A way to a server on which single connections can go dead without being closed, as when a network is cut.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinHandle,
};

/// Forwards connections to a server.
pub struct Proxy {
    port: u16,
    /// Connections made before this many were cut are dead.
    generation: Arc<AtomicU32>,
    listening: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Proxy {
    pub async fn start(server_url: &str) -> Self {
        let server = server_url.strip_prefix("redis://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let generation = Arc::<AtomicU32>::default();
        let current = generation.clone();
        let listening = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let Ok(server) = TcpStream::connect(&server).await else { continue };
                let (client, server) = (client.into_split(), server.into_split());
                tokio::spawn(forward(client.0, server.1, current.clone()));
                tokio::spawn(forward(server.0, client.1, current.clone()));
            }
        });
        Self { port, generation, listening }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// From now on, nothing comes through on the connections that there are; new ones work.
    pub fn cut(&self) {
        self.generation.fetch_add(1, Ordering::Relaxed);
    }
}

async fn forward(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, current: Arc<AtomicU32>) {
    let born = current.load(Ordering::Relaxed);
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        // What comes on a dead connection is swallowed.
        if current.load(Ordering::Relaxed) == born && to.write_all(&buffer[..read]).await.is_err() {
            break;
        }
    }
}
