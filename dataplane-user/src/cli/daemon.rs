//! How does a verb find the daemon?

use std::path::PathBuf;

use anyhow::ensure;
use clap::Args;
use serde::de::DeserializeOwned;
use serde_json::Value;

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

    /// Hands over each line of what `path` answers, as long as it does.
    pub fn lines(
        &self,
        path: &str,
        each: impl FnMut(&[u8]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        runtime()?.block_on(client::lines(&self.socket, path, each))
    }

    /// Refuses a name that no tenant of the site has; `-` is the provider's.
    pub fn check_tenant(&self, name: Option<&str>) -> anyhow::Result<()> {
        let Some(name) = name else { return Ok(()) };
        let site: Value = self.get("/v1/site")?;
        let tenants = site["tenants"].as_array().into_iter().flatten();
        let known = tenants.filter_map(|tenant| tenant["name"].as_str()).chain(["-"]);
        ensure!(
            known.clone().any(|known| known == name),
            "there is no tenant {name:?}; there are: {}",
            known.collect::<Vec<_>>().join(", ")
        );
        Ok(())
    }

    /// Sends `body` to `path`.
    pub fn post<T: DeserializeOwned>(&self, path: &str, body: Vec<u8>) -> anyhow::Result<T> {
        Ok(runtime()?.block_on(client::post(&self.socket, path, body))?)
    }
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_io().build()
}
