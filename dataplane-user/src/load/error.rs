//! What can go wrong between userland and the kernel, and what would be right?

use std::{io, net::IpAddr, path::PathBuf};

use aya::{
    maps::MapError,
    pin::PinError,
    programs::{ProgramError, links::LinkError},
};

use super::Sizes;

/// Every refusal names its object; a refusal leaves what runs as it was.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the variants and fields are")]
pub enum Error {
    // The machine.
    #[error(
        "this sekisho was built without the packet programs; \
         `cargo xtask setup` installs what their build needs, then build again"
    )]
    ObjectMissing,
    #[error("waiting until no packet uses an old table: {source}")]
    Grace { source: io::Error },
    #[error("which CPUs are there? {source}")]
    Cpus { source: io::Error },
    #[error("the kernel gives no random numbers for the flow table's secret: {source}")]
    Random { source: io::Error },

    // Where things are kept.
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error(
        "{}: not on a BPF file system; mount one (`mount -t bpf bpf /sys/fs/bpf`). \
         `ip netns exec` hides it: enter a namespace by `nsenter --net=/run/netns/NAME`",
        path.display()
    )]
    NotBpffs { path: PathBuf },
    #[error(
        "sekisho runs as root, or with CAP_BPF, CAP_NET_ADMIN, CAP_NET_RAW, CAP_PERFMON and \
         CAP_SYS_ADMIN; this is user {user} without"
    )]
    Unprivileged { user: u32 },
    #[error(
        "{wanted_by}: interface {interface} is guarded by another sekisho already, with another \
         --pin-path; `sekisho detach --pin-path PATH` gives it up"
    )]
    GuardedAlready { interface: String, wanted_by: String },
    #[error(
        "{}: owned by user {owner}, not by user {own} who runs this; remove it or name another \
         folder",
        path.display()
    )]
    Owner { path: PathBuf, owner: u32, own: u32 },
    #[error("{}: may be entered by others (mode {mode:o}); it has to be 700", path.display())]
    Mode { path: PathBuf, mode: u32 },
    #[error("{}: another sekisho is using it", path.display())]
    InUse { path: PathBuf },
    #[error(
        "{}: is not a pin folder of sekisho, or not of sekisho alone: {} not put there by it. \
         Nothing was touched; name another --pin-path, or take that out",
        path.display(), are(strange)
    )]
    Strange { path: PathBuf, strange: Vec<PathBuf> },
    #[error(
        "{}: holds nothing but the pin folders of others; name the one that is meant: {}",
        path.display(),
        below.iter().map(|one| format!("--pin-path {}", one.display())).collect::<Vec<_>>().join(", ")
    )]
    Parent { path: PathBuf, below: Vec<PathBuf> },
    #[error(
        "{} are in the network namespace {found}, and this is {own}: go there (`nsenter --net=...`)",
        interfaces.join(", ")
    )]
    OtherNamespace { found: u64, own: u64, interfaces: Vec<String> },
    #[error(
        "what is attached to {interface} ({hook}) is in another network namespace by now: go \
         there (`nsenter --net=...`), and `sekisho detach` once more"
    )]
    LinkElsewhere { interface: String, hook: String },
    #[error(
        "{}: not a state file of sekisho ({source}): nobody knows how tables were made and \
         interfaces were. `sekisho detach` removes the programs and tables; the file can be \
         removed after that",
        path.display()
    )]
    State { path: PathBuf, source: serde_json::Error },
    #[error(
        "{}: tables without {}, which says how they were made; `sekisho detach` removes them",
        pin.display(), state.display()
    )]
    StateMissing { pin: PathBuf, state: PathBuf },
    #[error(
        "{} does not tell how {} were before: offloads, ARP and IPv6 stay there as sekisho set \
         them (`ip link set dev IF arp on`, `ethtool -K`, sysctl disable_ipv6)",
        state.display(), interfaces.join(", ")
    )]
    SettingsLost { interfaces: Vec<String>, state: PathBuf },
    #[error(
        "{}: holds tables of layout {found}, this sekisho has layout {own}; \
         `sekisho detach` removes them, their flows with them",
        path.display()
    )]
    Layout { path: PathBuf, found: u32, own: u32 },
    #[error(
        "{}: this table is missing, and the others are of no use without it; `sekisho detach` \
         removes them",
        path.display()
    )]
    MapLost { path: PathBuf },
    #[error(
        "pinned map {name}: {what} is {found}, this sekisho needs {own}; `sekisho detach` \
         removes it"
    )]
    MapShape { name: &'static str, what: &'static str, found: u32, own: u32 },

    #[error(
        "the tables do not fit: the site takes {site} lines of 64 bytes, less what it has in \
         common with the one in force; the heap has {lines} in all, of which that takes {used}, \
         and {largest} are free in one piece. What runs is unchanged; {}",
        larger_heap(*site)
    )]
    HeapFull { site: usize, used: u32, lines: u32, largest: u32 },
    #[error("policy {policy}: endpoint {endpoint} has it, and is of another tenant than others")]
    PolicyTenants { policy: u32, endpoint: u32 },
    #[error("nothing is prepared that could be put in force")]
    NotPrepared,
    #[error("policy {policy}: {source}")]
    Policy { policy: u32, source: Box<crate::tables::classifier::Error> },
    #[error(
        "the pinned table HEAP was changed by somebody else: what lies where is not known any \
         more; `sekisho detach` removes it"
    )]
    HeapDamaged,

    // Programs and maps.
    #[error("flow table: {lines} half-flows; it has to be a power of two from {min} to {max}")]
    FlowLines { lines: u32, min: u32, max: u32 },
    #[error(
        "a heap of {} MiB ({lines} lines of 64 bytes): it has to be a power of two, from {min} to \
         {max} lines (512 MiB)",
        lines >> 14
    )]
    HeapLines { lines: u32, min: u32, max: u32 },
    #[error("the packet programs: {source}")]
    Object { source: Box<aya::EbpfError> },
    #[error("the packet programs have no program {name}; the binary is not built from one source")]
    ProgramMissing { name: &'static str },
    #[error("the packet programs have no map {name}; the binary is not built from one source")]
    MapMissing { name: &'static str },
    #[error("program {name}: the kernel refuses it ({source}); the verifier's last words:\n{tail}")]
    Verifier { name: &'static str, source: io::Error, tail: String },
    #[error("program {name}: {source}")]
    Program { name: &'static str, source: Box<ProgramError> },
    #[error("program {name}: pinning it as {}: {source}", path.display())]
    PinProgram { name: &'static str, path: PathBuf, source: PinError },
    #[error("map {name}: {source}")]
    Map { name: &'static str, source: MapError },
    #[error("map {name}: pinning it as {}: {source}", path.display())]
    PinMap { name: &'static str, path: PathBuf, source: PinError },
    #[error("map {name}: mapping its memory: {source}")]
    Mapping { name: &'static str, source: io::Error },

    // Images.
    #[error(
        "{table}: {count} records, {max} fit into the table; fewer have to be configured, or \
         the site split"
    )]
    Limit { table: &'static str, count: usize, max: u32 },
    #[error("{table}: record {index} names {field} {value}, which has to be below {end}")]
    Range { table: &'static str, index: u32, field: &'static str, value: u32, end: u32 },
    #[error("routes: there are two with the id {id}")]
    RouteTwice { id: u32 },
    #[error(
        "policy {policy}: {count} rules, {max} are looked at: fewer sources and ports of one \
         address of the host"
    )]
    PolicyRules { policy: u32, count: u32, max: u32 },
    #[error(
        "{table}: a prefix of {bits} bits; an address has 128, an IPv4 address counted with its 96"
    )]
    PrefixBits { table: &'static str, bits: u8 },
    #[error("version 2^32 of the tables is reached; `sekisho detach` and start again")]
    VersionsUsedUp,

    // Interfaces.
    #[error("asking the kernel about interfaces: {source}")]
    Netlink { source: io::Error },
    #[error("{wanted_by}: there is no interface {interface}{}", similar(names))]
    InterfaceMissing { interface: String, wanted_by: String, names: Vec<String> },
    #[error(
        "{wanted_by}: interface {interface} has the address {address}; an interface that is \
         given to sekisho has none but those that `host:` lists: list it there, or \
         `ip address del {address} dev {interface}`"
    )]
    HostAddress { interface: String, wanted_by: String, address: IpAddr },
    #[error(
        "{wanted_by}: interface {interface} carries the host's {family} default route ({route}): \
         the host would be cut off. List its addresses there under `host:`, or take the interface all the \
         same with --force"
    )]
    DefaultRoute { interface: String, wanted_by: String, family: &'static str, route: String },
    #[error(
        "{wanted_by}: you are logged in from {client} over interface {interface}: the connection \
         would be cut. List {{address: {address}, protocol: tcp, port: {port}}} with that source \
         under `host:`, or take the interface all the same with --force"
    )]
    OwnLogin { interface: String, wanted_by: String, address: IpAddr, port: u16, client: IpAddr },
    #[error(
        "{wanted_by}: interface {interface} belongs to {master}: name {master} itself if it is a \
         bond, or take the interface out: `ip link set {interface} nomaster`"
    )]
    Master { interface: String, wanted_by: String, master: String },
    #[error("{wanted_by}: interface {interface} is a loopback, which carries nobody's packets")]
    Loopback { interface: String, wanted_by: String },
    #[error("{wanted_by}: interface {interface} is named twice; its VLANs share one attachment")]
    InterfaceTwice { interface: String, wanted_by: String },
    #[error("{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Several { errors: Vec<Error> },
    #[error(
        "{wanted_by}: interface {interface} is in use by another XDP program{}; whoever attached \
         it has to give it up (`bpftool net show dev {interface}` tells more)",
        known(*id)
    )]
    XdpInUse { interface: String, wanted_by: String, id: Option<u32> },
    #[error(
        "{wanted_by}: interface {interface} has no native XDP: {}; say `hook: tcx` or `hook: auto`",
        xdp_reason(source)
    )]
    XdpRefused { interface: String, wanted_by: String, source: io::Error },
    #[error(
        "{wanted_by}: interface {interface} is a {kind}: at XDP its packets come under the numbers \
         of its members; say `hook: tcx` or `hook: auto`"
    )]
    XdpOnBond { interface: String, wanted_by: String, kind: String },
    #[error("{wanted_by}: interface {interface}: attaching {program}: {source}")]
    Attach {
        interface: String,
        wanted_by: String,
        program: &'static str,
        source: Box<ProgramError>,
    },
    #[error("{wanted_by}: interface {interface}: keeping {program} attached: {source}")]
    Link { interface: String, wanted_by: String, program: &'static str, source: LinkError },
    #[error("{wanted_by}: interface {interface}: pinning the attachment of {program}: {source}")]
    PinLink { interface: String, wanted_by: String, program: &'static str, source: PinError },
    #[error("interface {interface}: {setting}: {source}")]
    Setting { interface: String, setting: &'static str, source: io::Error },
    #[error(
        "interface {interface}: the program `ethtool` is needed to change its offloads and \
         cannot be run: {source}; install the package `ethtool`"
    )]
    EthtoolMissing { interface: String, source: io::Error },
    #[error("interface {interface}: `ethtool {arguments}` failed: {message}")]
    Ethtool { interface: String, arguments: String, message: String },
    #[error(
        "interface {interface}: {feature} cannot be switched off; with it XDP would not see \
         VLAN tags or single packets, so `hook: tcx` is what is left"
    )]
    FeatureFixed { interface: String, feature: String },

    // Looking.
    #[error("running {name} on a packet of {bytes} bytes: {source}")]
    TestRun { name: &'static str, bytes: usize, source: Box<ProgramError> },
    #[error(
        "{bytes} bytes: in a test run the kernel takes no {what} frame shorter than {min} bytes \
         at {hook}"
    )]
    FrameShort { bytes: usize, what: &'static str, min: usize, hook: &'static str },
    #[error("{bytes} bytes: in a test run the kernel takes no frame longer than {max} bytes")]
    FrameLong { bytes: usize, max: usize },
}

/// A few of these, and that they are.
fn are(paths: &[PathBuf]) -> String {
    const NAMED: usize = 4;
    let named: Vec<_> = paths.iter().take(NAMED).map(|path| path.display().to_string()).collect();
    let more = paths.len().saturating_sub(NAMED);
    match (paths.len(), more) {
        (1, _) => format!("{} was", named.join("")),
        (_, 0) => format!("{} were", named.join(", ")),
        _ => format!("{} and {more} more were", named.join(", ")),
    }
}

fn similar(names: &[String]) -> String {
    match names {
        [] => String::new(),
        names => format!("; there is {}", names.join(", ")),
    }
}

fn known(id: Option<u32>) -> String {
    id.map_or_else(String::new, |id| format!(" (id {id})"))
}

/// What the kernel means by refusing a program in a driver's receive path.
fn xdp_reason(error: &io::Error) -> String {
    const EINVAL: i32 = 22;
    const ERANGE: i32 = 34;
    const EOPNOTSUPP: i32 = 95;
    match error.raw_os_error() {
        Some(EOPNOTSUPP) => "its driver lacks it".into(),
        Some(ERANGE) => "its MTU is too large for it".into(),
        Some(EINVAL) => "its driver refuses it as it is set up (queues, MTU, offloads)".into(),
        _ => error.to_string(),
    }
}

/// What heap has room for two versions of a site of so many lines?
fn larger_heap(site: usize) -> String {
    let lines = (2 * site).next_power_of_two();
    if lines > *Sizes::HEAP_LINES.end() as usize {
        return "no heap has room for two versions of it".to_owned();
    }
    let mib = (lines >> 14).max(1);
    format!(
        "after `sekisho detach`, `sekisho run --heap-mib {mib}` has room for two versions of it"
    )
}

impl Error {
    /// One, or all of several; none if there is none.
    pub fn all(mut errors: Vec<Self>) -> Result<(), Self> {
        match errors.len() {
            0 => Ok(()),
            1 => Err(errors.remove(0)),
            _ => Err(Self::Several { errors }),
        }
    }

    /// For `map_err` on a file operation.
    pub(super) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        |source| Self::File { path, source }
    }
}
