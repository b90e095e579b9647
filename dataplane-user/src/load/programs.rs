//! How do the packet programs get into the kernel?

use std::{io::ErrorKind, ops::RangeInclusive, path::Path, thread, time::Duration};

use aya::{
    Ebpf, EbpfLoader, VerifierLogLevel,
    maps::{Map, MapData, ProgramArray},
    programs::{Program, ProgramError, SchedClassifier, Xdp},
    sys::SyscallError,
};
use dataplane_common::{
    table::{flow::BUCKET_LINES, secret::Secret},
    tables::program::{ANSWER, FIRST, FLOOD, FRAGMENT, HOST},
};

use super::{
    Error, LogLevel, ProgramFacts, Sizes, clock,
    kernel::Kernel,
    maps, object,
    place::Place,
    state::{State, namespace},
};

/// A program that a packet meets first at a hook.
pub const XDP: &str = "sekisho_xdp";
/// The same at tcx.
pub const TC: &str = "sekisho_tc";
/// On a NIC with our XDP program, at tcx: delivers what it decided.
pub const DELIVER: &str = "sekisho_tc_deliver";

/// By which a frame is sent in again where tcx sees it next.
pub const AGAIN: &str = "sekisho_xdp_again";

/// That tells the time of flows.
pub const CLOCK: &str = "sekisho_clock";

/// At the tracepoints that tell what the kernel refuses.
pub const KFREE_SKB: &str = "sekisho_kfree_skb";
/// See [`KFREE_SKB`].
pub const REDIRECT_ERR: &str = "sekisho_xdp_redirect_err";
/// See [`KFREE_SKB`].
pub const DEVMAP_XMIT: &str = "sekisho_xdp_devmap_xmit";

/// Every program.
pub const ALL: [&str; 17] = [
    XDP,
    "sekisho_xdp_first",
    "sekisho_xdp_answer",
    "sekisho_xdp_fragment",
    "sekisho_xdp_host",
    TC,
    "sekisho_tc_first",
    "sekisho_tc_answer",
    "sekisho_tc_flood",
    "sekisho_tc_fragment",
    "sekisho_tc_host",
    DELIVER,
    AGAIN,
    CLOCK,
    KFREE_SKB,
    REDIRECT_ERR,
    DEVMAP_XMIT,
];

/// The program arrays, and what goes where.
const STAGES: [(&str, &[(u32, &str)]); 2] = [
    (
        "XDP_STAGES",
        &[
            (FIRST, "sekisho_xdp_first"),
            (ANSWER, "sekisho_xdp_answer"),
            (FRAGMENT, "sekisho_xdp_fragment"),
            (HOST, "sekisho_xdp_host"),
        ],
    ),
    (
        "TC_STAGES",
        &[
            (FIRST, "sekisho_tc_first"),
            (ANSWER, "sekisho_tc_answer"),
            (FLOOD, "sekisho_tc_flood"),
            (FRAGMENT, "sekisho_tc_fragment"),
            (HOST, "sekisho_tc_host"),
        ],
    ),
];

impl Sizes {
    /// From the smallest flow table to the largest.
    pub const FLOW_LINES: RangeInclusive<u32> = BUCKET_LINES..=1 << 24;
    /// From the smallest heap to the largest: 64 KiB, and what the verifier lets a program reckon
    /// in (`BPF_MAX_VAR_OFF`): 512 MiB.
    pub const HEAP_LINES: RangeInclusive<u32> = 1 << 10..=1 << 23;
}

/// Whom do the programs work for?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// Packets, as this generation.
    Packets(u32),
    /// `sekisho trace`: they tell what they decide, and change nothing.
    Trace,
}

/// Refuses tables that the programs cannot use.
pub fn check_sizes(Sizes { flow_lines: lines, heap_lines }: Sizes) -> Result<(), Error> {
    let (min, max) = Sizes::FLOW_LINES.into_inner();
    if !lines.is_power_of_two() || !(min..=max).contains(&lines) {
        return Err(Error::FlowLines { lines, min, max });
    }
    let (min, max) = Sizes::HEAP_LINES.into_inner();
    if !heap_lines.is_power_of_two() || !(min..=max).contains(&heap_lines) {
        return Err(Error::HeapLines { lines: heap_lines, min, max });
    }
    Ok(())
}

/// Loads every program on top of the place's tables, which are made if they are not
/// there yet.
pub fn load(
    place: &Place,
    state: &State,
    purpose: Purpose,
    log: LogLevel,
    kernel: Kernel,
) -> Result<Ebpf, Error> {
    // Our own namespace, whose inode has 32 bits.
    let namespace = if kernel.fields.is_some() { namespace() as u32 } else { 0 };
    let fields = kernel.fields.unwrap_or_default();
    let (redirect_start, redirect_bytes) = kernel.redirect.unwrap_or((0, 0));
    let generation = match purpose {
        Purpose::Packets(generation) => charge(generation),
        Purpose::Trace => 0,
    };
    let secret = Secret::of(state.secret).words;
    let trace = u8::from(purpose == Purpose::Trace);
    let log = log as u8;
    let Sizes { flow_lines, heap_lines } = state.sizes;
    let tick_ns = clock::tick_ns();
    let shared = maps::shared(state.sizes);
    let mut loader = EbpfLoader::new();
    loader
        .verifier_log_level(VerifierLogLevel::DEBUG)
        .override_global("FLOW_LINES", &flow_lines, true)
        .override_global("HEAP_LINES", &heap_lines, true)
        .override_global("SECRET", &secret, true)
        .override_global("TICK_NS", &tick_ns, true)
        .override_global("TRACE", &trace, true)
        .override_global("GENERATION", &generation, true)
        .override_global("NAMESPACE", &namespace, true)
        .override_global("FRAME_DEVICE", &fields.frame_device, true)
        .override_global("DEVICE_IFINDEX", &fields.device_ifindex, true)
        .override_global("DEVICE_NAMESPACE", &fields.device_namespace, true)
        .override_global("NAMESPACE_INODE", &fields.namespace_inode, true)
        .override_global("REDIRECT_START", &redirect_start, true)
        .override_global("REDIRECT_BYTES", &redirect_bytes, true)
        // Absent where no program logs.
        .override_global("AYA_LOG_LEVEL", &log, false)
        .map_max_entries("FLOWS", flow_lines)
        .map_max_entries("FLOWS_COLD", flow_lines)
        .map_max_entries("FLOWS_MORE", flow_lines)
        .map_max_entries("FLOWS_AWAY", flow_lines / BUCKET_LINES);
    for map in &shared {
        if map.name == maps::HEAP {
            maps::make(place, map)?;
        }
        loader.map_pin_path(map.name, place.map(map.name));
    }
    let mut ebpf = loader
        .load(object::embedded()?)
        .map_err(|source| Error::Object { source: Box::new(source) })?;
    for name in ALL {
        let loaded = match ebpf.program_mut(name) {
            Some(Program::Xdp(program)) => undisturbed(|| program.load()),
            Some(Program::SchedClassifier(program)) => undisturbed(|| program.load()),
            Some(Program::RawTracePoint(_)) if purpose == Purpose::Trace => Ok(()),
            Some(Program::RawTracePoint(program)) => undisturbed(|| program.load()),
            _ => return Err(Error::ProgramMissing { name }),
        };
        loaded.map_err(|source| refused(name, source))?;
    }
    fill_stages(&mut ebpf)?;
    Ok(ebpf)
}

/// The verifier gives up with `EAGAIN` when a signal, or a freeze of the host, comes
/// while it works: the program is as good as before, so it is asked again.
fn undisturbed(mut load: impl FnMut() -> Result<(), ProgramError>) -> Result<(), ProgramError> {
    const TRIES: u32 = 8;
    let mut wait = Duration::from_millis(1);
    for _ in 1..TRIES {
        match load() {
            Err(error) if is_disturbed(&error) => {}
            loaded => return loaded,
        }
        thread::sleep(wait);
        wait *= 2;
    }
    load()
}

fn is_disturbed(error: &ProgramError) -> bool {
    if let ProgramError::LoadError { io_error, .. }
    | ProgramError::SyscallError(SyscallError { io_error, .. }) = error
    {
        io_error.kind() == ErrorKind::WouldBlock
    } else {
        false
    }
}

/// How a generation is called where it is told that it counts; 0: nobody is.
#[must_use]
pub const fn charge(generation: u32) -> u32 {
    generation.wrapping_add(1)
}

fn fill_stages(ebpf: &mut Ebpf) -> Result<(), Error> {
    for (array, stages) in STAGES {
        for &(index, name) in stages {
            let program = ebpf.program(name).ok_or(Error::ProgramMissing { name })?;
            let fd = program
                .fd()
                .and_then(|fd| fd.try_clone().map_err(ProgramError::from))
                .map_err(|source| Error::Program { name, source: Box::new(source) })?;
            let map = ebpf.map_mut(array).ok_or(Error::MapMissing { name: array })?;
            ProgramArray::try_from(map)
                .and_then(|mut map| map.set(index, &fd, 0))
                .map_err(|source| Error::Map { name: array, source })?;
        }
    }
    Ok(())
}

/// Keeps a generation's programs, and the arrays by which they call each other: an
/// array that no process holds and that is not pinned is emptied by the kernel.
pub fn pin(ebpf: &mut Ebpf, folder: &Path) -> Result<(), Error> {
    super::place::own_folder(folder)?;
    for (name, _) in STAGES {
        let path = folder.join(name);
        let map = ebpf.map(name).ok_or(Error::MapMissing { name })?;
        map.pin(&path).map_err(|source| Error::PinMap { name, path, source })?;
    }
    for name in ALL {
        let path = folder.join(name);
        let program = ebpf.program_mut(name).ok_or(Error::ProgramMissing { name })?;
        program.pin(&path).map_err(|source| Error::PinProgram { name, path, source })?;
    }
    Ok(())
}

/// The XDP program of this name.
pub fn xdp<'e>(ebpf: &'e mut Ebpf, name: &'static str) -> Result<&'e mut Xdp, Error> {
    match ebpf.program_mut(name) {
        Some(Program::Xdp(program)) => Ok(program),
        _ => Err(Error::ProgramMissing { name }),
    }
}

/// The tcx program of this name.
pub fn tc<'e>(ebpf: &'e mut Ebpf, name: &'static str) -> Result<&'e mut SchedClassifier, Error> {
    match ebpf.program_mut(name) {
        Some(Program::SchedClassifier(program)) => Ok(program),
        _ => Err(Error::ProgramMissing { name }),
    }
}

/// How the kernel took it.
pub fn facts(ebpf: &Ebpf, name: &'static str) -> Result<ProgramFacts, Error> {
    let program = ebpf.program(name).ok_or(Error::ProgramMissing { name })?;
    let info =
        program.info().map_err(|source| Error::Program { name, source: Box::new(source) })?;
    Ok(ProgramFacts { name, verified: info.verified_instruction_count().unwrap_or(0) })
}

/// The data of an array, which can be mapped.
pub fn array(map: &Map) -> Option<&MapData> {
    if let Map::Array(data) = map { Some(data) } else { None }
}

fn refused(name: &'static str, error: ProgramError) -> Error {
    if let ProgramError::LoadError { io_error: source, verifier_log } = error {
        Error::Verifier { name, source, tail: tail(&verifier_log.to_string()) }
    } else {
        Error::Program { name, source: Box::new(error) }
    }
}

/// The end of the verifier's log says why.
fn tail(log: &str) -> String {
    const LINES: usize = 24;
    let lines: Vec<_> = log.trim_end().lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use dataplane_common::limits;

    use super::*;

    #[test]
    fn a_flow_table_is_a_power_of_two() {
        let (min, max) = Sizes::FLOW_LINES.into_inner();
        for flow_lines in [min, 64, limits::FLOW_LINES, max] {
            check_sizes(Sizes { flow_lines, ..Sizes::default() }).expect("a power of two");
        }
        for flow_lines in [0, 1, 2, 1000, max * 2] {
            let refused = check_sizes(Sizes { flow_lines, ..Sizes::default() });
            let refusal = refused.expect_err("unusable").to_string();
            assert!(refusal.contains(&flow_lines.to_string()), "{refusal}");
        }
        let (min, max) = Sizes::HEAP_LINES.into_inner();
        for heap_lines in [0, min / 2, 3 * min, max * 2] {
            check_sizes(Sizes { heap_lines, ..Sizes::default() }).expect_err("unusable");
        }
    }

    #[test]
    fn a_disturbed_verifier_is_asked_again_and_a_refusal_is_final() {
        let failure =
            |kind: ErrorKind| SyscallError { call: "bpf_prog_load", io_error: kind.into() }.into();
        for (error, tries) in [(ErrorKind::WouldBlock, 8), (ErrorKind::PermissionDenied, 1)] {
            let mut asked = 0;
            let outcome = undisturbed(|| {
                asked += 1;
                Err(failure(error))
            });
            assert!(outcome.is_err());
            assert_eq!(asked, tries);
        }
        let mut answers = [Err(failure(ErrorKind::WouldBlock)), Ok(())].into_iter();
        assert!(undisturbed(|| answers.next().expect("asked once more")).is_ok());
    }

    #[test]
    fn the_verifiers_last_words_are_kept() {
        assert_eq!(tail(""), "");
        assert_eq!(tail("R1 !read_ok\n\n"), "R1 !read_ok");
        let log: Vec<_> = (0..1000).map(|line| line.to_string()).collect();
        let tail = tail(&log.join("\n"));
        assert_eq!((tail.lines().next(), tail.lines().last()), (Some("976"), Some("999")));
    }
}
