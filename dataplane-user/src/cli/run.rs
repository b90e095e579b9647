//! `sekisho run`: load, attach, forward.

use std::{
    net::TcpListener,
    os::fd::OwnedFd,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use clap::Args;
use dataplane_common::limits;
use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{Resource, Rlimit, getrlimit, setrlimit},
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::JoinSet,
};

use super::{
    number::{number, power_of_two},
    place::PlaceOptions,
};
use crate::{
    api::{self, Socket},
    client,
    daemon::{self, Asker, Shared, Terms},
    desired::log::By,
    load::{Changes, LogLevel, Sizes},
    message,
};

/// Load the programs, put the site in force, and answer questions until ended
///
/// When the daemon ends, by whatever signal, packets go on being forwarded; only
/// `sekisho detach` ends that. SIGHUP reads the site file anew.
#[derive(Args)]
#[command(allow_negative_numbers = true)]
pub struct Options {
    /// The site file (YAML or JSON) for the first start, when --store does not say yet what is to
    /// be in force; and the one that `apply` and SIGHUP read
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where it is kept what is to be in force; a later start needs nothing else [default: a file
    /// in /var/lib/sekisho, named after --pin-path]
    #[arg(long, value_name = "FILE", env = "SEKISHO_STORE")]
    store: Option<PathBuf>,
    /// Where to listen for the other verbs
    #[arg(long, value_name = "PATH", default_value = client::SOCKET, env = "SEKISHO_SOCKET")]
    socket: PathBuf,
    /// Whose members may ask and change everything, as root may [default: nobody's]
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// Whose members may ask, change nothing, and see no telephone number: `read.sock` beside the
    /// other socket is for them [default: nobody's]
    #[arg(long, value_name = "GROUP")]
    read_group: Option<String>,
    #[command(flatten)]
    place: PlaceOptions,
    /// Serve Prometheus metrics at this address as well (http://ADDRESS/metrics)
    #[arg(long, value_name = "ADDRESS:PORT")]
    metrics: Option<String>,
    /// Half-flows that there is room for, a power of two (160 bytes each)
    #[arg(
        long,
        value_name = "N",
        default_value_t = limits::FLOW_LINES,
        value_parser = power_of_two("half-flows", Sizes::FLOW_LINES)
    )]
    flows: u32,
    /// Memory for compiled tables, MiB, a power of two: two versions of the site have to fit
    #[arg(
        long,
        value_name = "N",
        default_value_t = limits::HEAP_LINES >> 14,
        value_parser = power_of_two("MiB", 1..=*Sizes::HEAP_LINES.end() >> 14)
    )]
    heap_mib: u32,
    /// What the packet programs tell of themselves: events that should never happen
    #[arg(long, value_enum, default_value_t = LogLevel::Off)]
    program_log: LogLevel,
    /// Half-flows that one tenant may have [default: a quarter of --flows]
    #[arg(
        long,
        value_name = "N",
        value_parser =
            number("a number of half-flows no larger than --flows", 2..=*Sizes::FLOW_LINES.end())
    )]
    flows_per_tenant: Option<u32>,
    /// Take interfaces, too, that carry the host's default route or your own login
    #[arg(long)]
    force: bool,
    /// Refuse a site file of which an interface is missing, instead of waiting for it
    #[arg(long)]
    require_interfaces: bool,
}

/// How often expired flows are cleared and counters folded.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// How often it is looked what the kernel refused, and which interfaces there are.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often it is looked whether something was not confirmed in time.
const OVERDUE_EVERY: Duration = Duration::from_millis(500);

/// How often the log's head is told where the log is not: whoever cuts it off is found out.
const HEAD_EVERY: Duration = Duration::from_hours(1);

/// How often next hops are heard and asked.
const ATTEND_EVERY: Duration = Duration::from_millis(100);

/// How often it is looked whether flows crowd the table.
const CROWD_EVERY: Duration = Duration::from_millis(20);

/// How often it is looked whether fragments still have to wait.
const PARKED_EVERY: Duration = Duration::from_millis(10);

pub fn run(options: &Options) -> anyhow::Result<()> {
    let Options { flows, flows_per_tenant, .. } = *options;
    if let Some(wanted) = flows_per_tenant.filter(|wanted| *wanted > flows) {
        bail!("--flows-per-tenant {wanted} is more than the flow table holds (--flows {flows})");
    }
    take_files();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let served = runtime.block_on(async {
        // Whatever may be refused is, before anything is put in force.
        let listen = |path: &Path, group: Option<&str>| {
            api::listen(path, group).with_context(|| format!("cannot listen on {}", path.display()))
        };
        let control = listen(&options.socket, options.group.as_deref())?;
        let readers = options.read_group.as_deref();
        let readers = readers.map(|group| listen(&api::for_readers(&options.socket), Some(group)));
        let readers = readers.transpose()?;
        let metrics = match &options.metrics {
            Some(address) => Some(
                TcpListener::bind(address)
                    .with_context(|| format!("cannot serve metrics at {address}"))?,
            ),
            None => None,
        };
        let hangup = signal(SignalKind::hangup())?;
        let started = daemon::Options {
            config: options.config.clone(),
            store: options.store.clone().unwrap_or_else(|| options.place.store()),
            place: options.place.place(),
            sizes: Sizes { flow_lines: options.flows, heap_lines: options.heap_mib << 14 },
            flows_per_tenant,
            program_log: options.program_log,
            require_interfaces: options.require_interfaces,
            asker: Asker::here(options.force),
        };
        // From before the first look on, so that nothing comes unseen.
        let changes = Changes::listen()?;
        let daemon = tokio::task::spawn_blocking(|| Shared::start(started)).await?;
        let daemon = daemon?;
        let looked_at = daemon.clone();
        thread::spawn(move || look_at_changes(&looked_at, &changes));
        serve(daemon, [Some(&control), readers.as_ref()], metrics, hangup).await
    });
    // Files may be read and compiled still, for nobody.
    runtime.shutdown_background();
    served
}

/// As many files as may be had: each connection is one, each table and each interface.
fn take_files() {
    let limit = getrlimit(Resource::Nofile);
    // Who may have no more goes on with what there is.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

async fn serve(
    daemon: Shared,
    [control, readers]: [Option<&Socket>; 2],
    metrics: Option<TcpListener>,
    hangup: Signal,
) -> anyhow::Result<()> {
    let mut served = JoinSet::new();
    if let Some(listener) = metrics {
        let server = axum_server::from_tcp(listener)?;
        served.spawn(api::serve(server, api::metrics_routes(daemon.clone())));
    }
    for (socket, routes) in
        [(control, api::routes(daemon.clone())), (readers, api::read_routes(daemon.clone()))]
    {
        let Some(socket) = socket else { continue };
        served.spawn(api::serve(axum_server::from_unix(socket.listener()?)?, routes));
    }
    let now_and_then = |every, what, task: fn(&Shared) -> anyhow::Result<()>| {
        now_and_then(daemon.clone(), every, what, task);
    };
    now_and_then(SWEEP_EVERY, "sweeping", |daemon| daemon.sweeping().sweep());
    now_and_then(CROWD_EVERY, "flows", |daemon| daemon.sweeping().make_room());
    now_and_then(OVERDUE_EVERY, "rollback", Shared::take_back_overdue);
    now_and_then(HEAD_EVERY, "the log", |daemon| {
        let head = daemon.wanted().log();
        eprintln!("sekisho: log: record {} is {}", head.number, head.digest);
        Ok(())
    });
    now_and_then(LOOK_EVERY, "the machine", |daemon| daemon.lock().look_after());
    now_and_then(ATTEND_EVERY, "next hops", |daemon| daemon.lock().attend());
    let parked = daemon.lock().parked_signal()?;
    let parking = daemon.clone();
    thread::spawn(move || send_parked(&parking, &parked));
    tokio::spawn(reload(daemon.clone(), hangup));
    // Whoever reads that it is ready may end it at once.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    println!("sekisho: ready");
    tokio::select! {
        Some(served) = served.join_next() => served??,
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    // What is being put in force is, and nothing after it.
    tokio::task::spawn_blocking(move || daemon.end()).await?;
    eprintln!("sekisho: ended; packets go on being forwarded (`sekisho detach` ends that)");
    Ok(())
}

/// SIGHUP: the site file anew.
async fn reload(daemon: Shared, mut hangup: Signal) {
    while hangup.recv().await.is_some() {
        let daemon = daemon.clone();
        let applied = tokio::task::spawn_blocking(move || {
            let by = By::itself("it was sent SIGHUP");
            let asker = Asker { by, ..Asker::default() };
            daemon.apply(None, &Terms::default(), false, asker)
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
}

/// Looks at the interfaces when any of them has changed. While one look is under way any
/// number of changes are one reason for the next; between two looks there is as much time
/// as a look takes, so that a crowd of interfaces does not keep others waiting.
fn look_at_changes(daemon: &Shared, changes: &Changes) {
    const PAUSE_MIN: Duration = Duration::from_millis(5);
    loop {
        if let Err(error) = changes.wait() {
            eprintln!("sekisho: interfaces: {error}; they are looked at once a second");
            return;
        }
        let mut is_more = true;
        while is_more {
            let start = Instant::now();
            let looked = daemon.lock().look_at_interfaces();
            // What goes wrong is told by the look that is made every second.
            is_more = looked.unwrap_or(false);
            thread::sleep(start.elapsed().max(PAUSE_MIN));
        }
    }
}

/// Sends fragments in again that came before their first one: at once when the first of them
/// comes, and then not too often, since it keeps the daemon from other things.
fn send_parked(daemon: &Shared, signal: &OwnedFd) {
    let mut is_waiting = false;
    let mut last = String::new();
    loop {
        let mut parked = [PollFd::new(signal, PollFlags::IN)];
        if !is_waiting && !matches!(poll(&mut parked, None), Ok(1..)) {
            continue;
        }
        let sent = daemon.lock().send_parked();
        is_waiting = !matches!(sent, Ok(false));
        let said = sent.err().map_or_else(String::new, |error| message::of(&error));
        // What stays wrong is told once.
        if !said.is_empty() && said != last {
            eprintln!("sekisho: fragments: {said}");
        }
        last = said;
        thread::sleep(PARKED_EVERY);
    }
}

/// Does something again and again, and tells what went wrong. In a thread of its own: whoever
/// answers questions may be busy.
fn now_and_then(
    daemon: Shared,
    every: Duration,
    what: &'static str,
    task: fn(&Shared) -> anyhow::Result<()>,
) {
    let mut last = String::new();
    thread::spawn(move || {
        loop {
            let said = match catch_unwind(AssertUnwindSafe(|| task(&daemon))) {
                Ok(Ok(())) => String::new(),
                Ok(Err(error)) => message::of(&error),
                Err(_) => "a defect of ours; it is tried again".to_owned(),
            };
            // What stays wrong is told once.
            if !said.is_empty() && said != last {
                eprintln!("sekisho: {what}: {said}");
            }
            last = said;
            thread::sleep(every);
        }
    });
}
