//! What stands between a process and its engine.

use std::net::Ipv4Addr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// As long as the runtime is there.
pub struct Proxy {
    pub port: u16,
    is_half_open: watch::Sender<bool>,
    cuts: watch::Sender<u64>,
}

impl Proxy {
    /// To a port of this machine.
    pub async fn start(to: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let proxy = Self { port, is_half_open: watch::Sender::new(false), cuts: watch::Sender::new(0) };
        let (is_half_open, cuts) = (proxy.is_half_open.subscribe(), proxy.cuts.subscribe());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (is_half_open, mut cuts) = (is_half_open.clone(), cuts.clone());
                cuts.mark_unchanged();
                tokio::spawn(async move {
                    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, to)).await else { return };
                    let ((from_client, to_client), (from_server, to_server)) =
                        (client.into_split(), server.into_split());
                    tokio::select! {
                        () = forward(from_client, to_server, is_half_open.clone()) => {}
                        () = forward(from_server, to_client, is_half_open) => {}
                        _ = cuts.changed() => {}
                    }
                });
            }
        });
        proxy
    }

    /// While it is, nothing gets through and no connection is closed. What was sent meanwhile gets through afterwards.
    pub fn half_open(&self, is_half_open: bool) {
        self.is_half_open.send_replace(is_half_open);
    }

    /// Closes all connections.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

async fn forward(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut is_half_open: watch::Receiver<bool>) {
    let mut bytes = vec![0; 16_384];
    while let Ok(length @ 1..) = from.read(&mut bytes).await {
        if is_half_open.wait_for(|is_half_open| !is_half_open).await.is_err() {
            return;
        }
        if to.write_all(&bytes[..length]).await.is_err() {
            return;
        }
    }
}
