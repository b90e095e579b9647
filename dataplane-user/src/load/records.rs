//! Which records may be copied to and from the kernel as they lie in memory?
#![expect(unsafe_code, reason = "the layouts of dataplane-common are vouched for here")]

use aya::Pod;
use dataplane_common::{
    table::{
        datagram::Datagram,
        flow::{FlowCold, FlowLine, FlowMore},
        heap::Line,
        meter::Meter,
        total::{Intent, Total},
    },
    tables::{NOTES_MAX, Note, Tally},
    word::Word64,
};

/// A record without padding of which every bit pattern is a value.
///
/// # Safety
///
/// The type is `repr(C)`, has no padding and no invalid value.
pub unsafe trait Plain: Copy + 'static {}

/// A record of words, each read and written as a whole, so that programs may write
/// it while we look.
///
/// # Safety
///
/// The type is `repr(C)`, has no padding, and consists of atomics only.
pub unsafe trait Shared: Sync + 'static {}

macro_rules! plain {
    ($($record:ty),+ $(,)?) => {
        // SAFETY: dataplane-common asserts the size of each beside its fields, which are
        // integers and arrays of them.
        $(unsafe impl Plain for $record {})+
    };
}
plain!(u64, [u64; 2], Line, Tally, Notes);

// SAFETY: one atomic word.
unsafe impl Shared for Word64 {}
// SAFETY: atomic words alone; the size is asserted beside the fields.
unsafe impl Shared for FlowLine {}
// SAFETY: as above.
unsafe impl Shared for FlowCold {}
// SAFETY: as above.
unsafe impl Shared for FlowMore {}
// SAFETY: as above.
unsafe impl Shared for Total {}
// SAFETY: as above.
unsafe impl Shared for Intent {}

// SAFETY: as above.
unsafe impl Shared for Datagram {}
// SAFETY: as above.
unsafe impl Shared for Meter {}

/// A record as aya's maps take it.
#[repr(transparent)]
#[derive(Clone, Copy, Debug)]
pub struct Record<T>(pub T);

// SAFETY: `Plain` is the same promise.
unsafe impl<T: Plain> Pod for Record<T> {}

/// The trace of one packet, as the tracing programs write it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Notes {
    /// How many of `notes` count.
    pub count: u64,
    /// In the order in which they were made.
    pub notes: [Note; NOTES_MAX as usize],
}
const _: () = assert!(size_of::<Notes>() == 8 + 16 * NOTES_MAX as usize);
