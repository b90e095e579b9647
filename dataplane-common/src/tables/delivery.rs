//! How does XDP on a NIC tell tcx there where a frame goes?

use crate::table::next_hop::{Output, output_kind};

/// What XDP on a NIC tells the program at tcx of the same NIC, in the frame's metadata.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Delivery {
    /// Where to.
    pub ifindex: u32,
    mark: u32,
    /// The attachment that it leaves by.
    pub output: u32,
}

impl Delivery {
    /// Tells our metadata from another program's.
    const MARK: u32 = 0x5e_c1_50_00;

    /// To the output of this attachment.
    #[inline(always)]
    #[must_use]
    pub const fn new(id: u32, output: &Output) -> Self {
        Self { ifindex: output.ifindex, mark: Self::MARK | output.kind, output: id }
    }

    /// Up to the host.
    #[inline(always)]
    #[must_use]
    pub const fn to_host() -> Self {
        Self { ifindex: 0, mark: Self::MARK | output_kind::HOST, output: 0 }
    }

    /// Did our program write it?
    #[inline(always)]
    #[must_use]
    pub const fn is_ours(&self) -> bool {
        self.mark & !0xff == Self::MARK
    }

    /// The output's kind.
    #[inline(always)]
    #[must_use]
    pub const fn kind(&self) -> u32 {
        self.mark & 0xff
    }
}
