//! What would the programs do with this packet?
//!
//! The kernel runs a program on a frame of ours, as if it had come in at an interface
//! (BPF_PROG_TEST_RUN). It needs no traffic and sends nothing; what the program writes
//! into tables, it writes, unless it is the tracing twin.

use aya::{
    Ebpf, TestRunAttrs,
    programs::{Program, ProgramError, TestRun, TestRunOptions, TestRunResult},
};
use dataplane_common::tables::{NOTES_MAX, Note};

use super::{
    Error,
    hook::Hooked,
    mapping::Mapping,
    programs::{self, TC, XDP},
    records::Notes,
};

/// A frame, and how it comes in.
#[derive(Clone, Copy, Debug)]
pub struct TestFrame<'f> {
    /// Where the program sits.
    pub hooked: Hooked,
    /// In the network namespace of the calling thread.
    pub ifindex: u32,
    /// From the Ethernet header on.
    pub frame: &'f [u8],
    /// At tcx: the payload of each segment that the frame stands for, bytes; 0: it is one.
    pub segment_bytes: u32,
    /// How often; the frame is as the program left it from the second time on.
    pub repeat: u32,
}

impl<'f> TestFrame<'f> {
    /// Once, and no segments.
    #[must_use]
    pub const fn new(hooked: Hooked, ifindex: u32, frame: &'f [u8]) -> Self {
        Self { hooked, ifindex, frame, segment_bytes: 0, repeat: 1 }
    }
}

/// What became of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// The program's: an XDP or TC action code.
    pub code: u32,
    /// What XDP tells the delivering program, if it does.
    pub metadata: Vec<u8>,
    /// The frame afterwards.
    pub frame: Vec<u8>,
    /// Mean time of one run.
    pub duration: std::time::Duration,
}

/// The verdict, and what led to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trace {
    /// As without tracing.
    pub verdict: Verdict,
    /// In the order in which they were made.
    pub notes: Vec<Note>,
}

/// What fits into a page with the kernel's own beside it.
const FRAME_BYTES_MAX: usize = 3500;

/// Runs the entry program of the frame's hook.
pub fn run(ebpf: &Ebpf, frame: TestFrame<'_>) -> Result<Verdict, Error> {
    let name = match frame.hooked {
        Hooked::Xdp => XDP,
        Hooked::Tcx => TC,
    };
    let bytes = frame.frame.len();
    if bytes > FRAME_BYTES_MAX {
        return Err(Error::FrameLong { bytes, max: FRAME_BYTES_MAX });
    }
    let failed = |source| match least(frame.frame) {
        (what, min) if bytes < min => {
            Error::FrameShort { bytes, what, min, hook: frame.hooked.name() }
        }
        _ => Error::TestRun { name, bytes, source: Box::new(source) },
    };
    // An answer may be longer than the question.
    let mut out = vec![0; 4096];
    let mut context_out = context(frame);
    let context_in = context_out.clone();
    let options = TestRunOptions {
        data_in: Some(frame.frame),
        data_out: Some(&mut out),
        ctx_in: Some(&context_in),
        ctx_out: Some(&mut context_out),
        repeat: frame.repeat,
        ..TestRunOptions::new()
    };
    let result: TestRunResult = match ebpf.program(name) {
        Some(Program::Xdp(program)) => program.test_run(options),
        Some(Program::SchedClassifier(program)) => program.test_run(options),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
    .map_err(failed)?;
    out.truncate(result.data_size_out as usize);
    // Metadata comes before the frame; `xdp_md.data` says how much it is.
    let metadata_bytes = match frame.hooked {
        Hooked::Xdp => word(&context_out, xdp_md::DATA).min(out.len() as u32) as usize,
        Hooked::Tcx => 0,
    };
    let frame = out.split_off(metadata_bytes);
    Ok(Verdict { code: result.return_value, metadata: out, frame, duration: result.duration })
}

/// What the programs' clock shows.
pub fn clock(ebpf: &Ebpf) -> Result<u32, Error> {
    let name = programs::CLOCK;
    // The kernel wants a frame, at which the program does not look.
    let frame = [0; 14];
    let options = TestRunOptions { data_in: Some(&frame), ..TestRunOptions::new() };
    let result: Result<TestRunResult, _> = match ebpf.program(name) {
        Some(Program::Xdp(program)) => program.test_run(options),
        _ => Err(ProgramError::UnexpectedProgramType),
    };
    let bytes = frame.len();
    let source = |source| Error::TestRun { name, bytes, source: Box::new(source) };
    Ok(result.map_err(source)?.return_value)
}

/// Sends a frame in as if it had just come to this interface. At XDP our program decides on
/// it; else the next that sees it is tcx, as of any frame.
pub fn send_in(ebpf: &Ebpf, hooked: Hooked, ifindex: u32, frame: &[u8]) -> Result<(), Error> {
    let name = match hooked {
        Hooked::Xdp => XDP,
        Hooked::Tcx => programs::AGAIN,
    };
    let context = context(TestFrame::new(Hooked::Xdp, ifindex, frame));
    let options = TestRunOptions {
        data_in: Some(frame),
        ctx_in: Some(&context),
        // The frame is a real one, which is sent where the program says.
        attrs: TestRunAttrs::new().xdp_live_frames(1),
        ..TestRunOptions::new()
    };
    let done = match ebpf.program(name) {
        Some(Program::Xdp(program)) => program.test_run(options),
        _ => Err(ProgramError::UnexpectedProgramType),
    };
    let bytes = frame.len();
    done.map(drop).map_err(|source| Error::TestRun { name, bytes, source: Box::new(source) })
}

/// What the kernel may find too short. Some versions ask for a whole IP header at tcx, so
/// it is asked before this is.
fn least(frame: &[u8]) -> (&'static str, usize) {
    match frame.get(12..14) {
        Some([0x08, 0x00]) => ("IPv4", 34),
        Some([0x86, 0xdd]) => ("IPv6", 54),
        _ => ("Ethernet", 14),
    }
}

/// The programs once more, to tell what they decide. They share every table but what
/// is a packet's own, and write into none.
pub struct Twin {
    ebpf: Ebpf,
    notes: Mapping<Notes>,
}

impl Twin {
    /// Of programs that were loaded for tracing.
    pub fn new(ebpf: Ebpf) -> Result<Self, Error> {
        let map = ebpf.map("NOTES").and_then(programs::array);
        let notes = Mapping::new("NOTES", map.ok_or(Error::MapMissing { name: "NOTES" })?)?;
        Ok(Self { ebpf, notes })
    }

    /// Runs them on one frame. `&mut`, since there is one place for notes.
    pub fn trace(&mut self, frame: TestFrame<'_>) -> Result<Trace, Error> {
        let none = Notes { count: 0, notes: [Note::default(); NOTES_MAX as usize] };
        self.notes.write(0, none);
        let verdict = run(&self.ebpf, frame)?;
        let notes = self.notes.read(0).unwrap_or(none);
        let count = notes.notes.len().min(notes.count as usize);
        Ok(Trace { verdict, notes: notes.notes[..count].to_vec() })
    }
}

/// Offsets in `struct xdp_md` (linux/bpf.h).
mod xdp_md {
    pub const BYTES: usize = 24;
    pub const DATA: usize = 0;
    pub const DATA_END: usize = 4;
    pub const INGRESS_IFINDEX: usize = 12;
}

/// Offsets in `struct __sk_buff` (linux/bpf.h).
mod sk_buff {
    pub const BYTES: usize = 192;
    pub const INGRESS_IFINDEX: usize = 36;
    pub const IFINDEX: usize = 40;
    pub const WIRE_LEN: usize = 160;
    pub const GSO_SEGS: usize = 164;
    pub const GSO_SIZE: usize = 176;
}

/// What the kernel is told about the frame. What it may not be told has to be zero.
fn context(frame: TestFrame<'_>) -> Vec<u8> {
    let bytes = frame.frame.len() as u32;
    let mut context;
    match frame.hooked {
        Hooked::Xdp => {
            context = vec![0; xdp_md::BYTES];
            set(&mut context, xdp_md::DATA_END, bytes);
            set(&mut context, xdp_md::INGRESS_IFINDEX, frame.ifindex);
        }
        Hooked::Tcx => {
            context = vec![0; sk_buff::BYTES];
            set(&mut context, sk_buff::INGRESS_IFINDEX, frame.ifindex);
            set(&mut context, sk_buff::IFINDEX, frame.ifindex);
            if frame.segment_bytes != 0 {
                set(&mut context, sk_buff::WIRE_LEN, bytes);
                set(&mut context, sk_buff::GSO_SIZE, frame.segment_bytes);
                set(&mut context, sk_buff::GSO_SEGS, bytes.div_ceil(frame.segment_bytes));
            }
        }
    }
    context
}

fn set(context: &mut [u8], offset: usize, value: u32) {
    if let Some(field) = context.get_mut(offset..offset + 4) {
        field.copy_from_slice(&value.to_ne_bytes());
    }
}

fn word(context: &[u8], offset: usize) -> u32 {
    context
        .get(offset..offset + 4)
        .and_then(|field| field.try_into().ok())
        .map_or(0, u32::from_ne_bytes)
}
