//! How does a verb find the daemon?

use std::path::PathBuf;

use clap::Args;
use serde::de::DeserializeOwned;

use crate::client;

/// `--socket`.
#[derive(Args, Clone)]
pub struct Daemon {
    /// The daemon's control socket
    #[arg(long, value_name = "PATH", default_value = client::SOCKET, env = "SEKISHO_SOCKET")]
    pub socket: PathBuf,
}

impl Daemon {
    /// Asks for `path`.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        Ok(runtime()?.block_on(client::get(&self.socket, path))?)
    }

    /// Sends `body` to `path`.
    pub fn post<T: DeserializeOwned>(&self, path: &str, body: Vec<u8>) -> anyhow::Result<T> {
        Ok(runtime()?.block_on(client::post(&self.socket, path, body))?)
    }
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_io().build()
}
