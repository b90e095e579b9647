//! `sekisho run`: load, attach, forward.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, bail};
use clap::Args;
use dataplane_common::limits;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

use super::place::PlaceOptions;
use crate::{
    api, client,
    daemon::{self, Daemon},
    load::LogLevel,
    message,
};

/// Load the programs, put the site in force, and answer questions until ended
///
/// When the daemon ends, by whatever signal, packets go on being forwarded; only
/// `sekisho detach` ends that. SIGHUP reads the site file anew.
#[derive(Args)]
pub struct Options {
    /// The site file (YAML or JSON)
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Where to listen for the other verbs
    #[arg(long, value_name = "PATH", default_value = client::SOCKET, env = "SEKISHO_SOCKET")]
    socket: PathBuf,
    #[command(flatten)]
    place: PlaceOptions,
    /// Serve Prometheus metrics at this address as well (http://ADDRESS/metrics)
    #[arg(long, value_name = "ADDRESS:PORT")]
    metrics: Option<String>,
    /// Half-flows that there is room for, a power of two (192 bytes each)
    #[arg(long, value_name = "N", default_value_t = limits::FLOW_LINES)]
    flows: u32,
    /// What the packet programs tell of themselves: events that should never happen
    #[arg(long, value_enum, default_value_t = LogLevel::Off)]
    program_log: LogLevel,
    /// Half-flows that one tenant may have [default: a quarter of --flows]
    #[arg(long, value_name = "N")]
    flows_per_tenant: Option<u32>,
}

/// How often expired flows are cleared and counters folded.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

pub fn run(options: &Options) -> anyhow::Result<()> {
    let daemon = Daemon::start(daemon::Options {
        config: options.config.clone(),
        place: options.place.place(),
        flow_lines: options.flows,
        flows_per_tenant: flows_per_tenant(options)?,
        program_log: options.program_log,
    })?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(options, Arc::new(Mutex::new(daemon))))
}

fn flows_per_tenant(options: &Options) -> anyhow::Result<u32> {
    let Some(wanted) = options.flows_per_tenant else { return Ok(options.flows / 4) };
    if wanted > options.flows {
        let Options { flows, .. } = options;
        bail!("--flows-per-tenant {wanted} is more than the flow table holds (--flows {flows})");
    }
    Ok(wanted)
}

async fn serve(options: &Options, daemon: api::Shared) -> anyhow::Result<()> {
    let socket = options.socket.display();
    let listener =
        api::listen(&options.socket).with_context(|| format!("cannot listen on {socket}"))?;
    if let Some(address) = &options.metrics {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot serve metrics at {address}"))?;
        tokio::spawn(api::serve_metrics(listener, daemon.clone()));
    }
    tokio::spawn(sweep(daemon.clone()));
    tokio::spawn(reload(daemon.clone()));
    println!("sekisho: ready");
    tokio::select! {
        served = axum::serve(listener, api::routes(daemon)) => served?,
        ended = ended() => ended?,
    }
    // What is left behind would keep the next daemon from listening.
    let _ = std::fs::remove_file(&options.socket);
    eprintln!("sekisho: ended; packets go on being forwarded (`sekisho detach` ends that)");
    Ok(())
}

/// Asked to end.
async fn ended() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// SIGHUP: the site file anew.
async fn reload(daemon: api::Shared) -> std::io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    while hangup.recv().await.is_some() {
        let daemon = daemon.clone();
        let applied = tokio::task::spawn_blocking(move || {
            daemon.lock().unwrap_or_else(PoisonError::into_inner).apply(None, false)
        });
        match applied.await {
            Ok(Ok(applied)) => {
                eprintln!("sekisho: in force as site version {}", applied.site_version);
            }
            Ok(Err(error)) => {
                eprintln!("sekisho: the site in force is unchanged: {}", message::of(&error));
            }
            Err(error) => eprintln!("sekisho: {error}"),
        }
    }
    Ok(())
}

async fn sweep(daemon: api::Shared) {
    let mut every = tokio::time::interval(SWEEP_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let daemon = daemon.clone();
        let swept = tokio::task::spawn_blocking(move || {
            daemon.lock().unwrap_or_else(PoisonError::into_inner).sweep()
        });
        match swept.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => eprintln!("sekisho: sweeping flows: {}", message::of(&error)),
            Err(error) => eprintln!("sekisho: sweeping flows: {error}"),
        }
    }
}
