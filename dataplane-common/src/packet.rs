//! What may a stage ask of a packet, and do to it?

use crate::checksum::Sum;
use crate::stop::Stop;
use crate::table::datagram::Parked;
use crate::wire::Wire;

/// A packet at either hook, or on a host in a test. Offsets and lengths are in
/// bytes and count from the Ethernet header; a tag that the kernel keeps beside
/// the packet is not in them.
///
/// Nothing read through this trait is trusted: a length in a header is compared
/// with [`bytes`](Self::bytes), never believed.
pub trait Packet {
    /// Bytes of the frame as it lies before us.
    fn bytes(&self) -> u32;

    /// Makes the first `n` bytes readable, or all if there are fewer. A reference
    /// got before does not outlive this call.
    fn need(&mut self, n: u32) -> Result<(), Stop>;

    /// The header at `offset`, if it lies inside what is readable.
    fn get<T: Wire>(&self, offset: u32) -> Option<&T>;

    /// The same, to be changed. The borrow keeps two of them from overlapping.
    fn get_mut<T: Wire>(&mut self, offset: u32) -> Option<&mut T>;

    /// The sum of the readable bytes from `offset` on; their number is a multiple of
    /// four, and at most [`SUM_BYTES_MAX`].
    fn sum(&self, offset: u32, bytes: u32) -> Result<Sum, Stop>;

    /// The interface that the packet came in on.
    fn ifindex(&self) -> u32;

    /// Tag control information of an outer tag that the kernel keeps beside the
    /// packet, or `None` if the frame is untagged or carries its tags itself.
    fn outer_tag(&self) -> Option<OuterTag>;

    /// Leaves the frame with the tags of these [`vlans`](crate::wire::ethernet::vlans).
    /// `inline_bytes` is how much the tags take up that it carries itself now.
    fn set_vlans(&mut self, vlans: u32, inline_bytes: u32) -> Result<(), Stop>;

    /// Can copies of the frame be sent? At XDP they cannot.
    fn can_copy(&self) -> bool;

    /// Sends a copy of the frame as it is now out of this interface; answers whether the
    /// kernel took it.
    fn copy_to(&mut self, ifindex: u32) -> bool;

    /// Shortens or lengthens the frame at its end to `bytes`; what new bytes hold
    /// is undefined.
    fn set_bytes(&mut self, bytes: u32) -> Result<(), Stop>;

    /// Makes room for `bytes` before the frame; their content is undefined.
    fn grow_front(&mut self, bytes: u32) -> Result<(), Stop>;

    /// The payload of one segment if the packet stands for several (GSO), else 0.
    fn segment_bytes(&self) -> u32;

    /// How many packets of the wire it stands for: 1 but for GSO.
    fn segments(&self) -> u32;

    /// Gives the daemon a copy of the frame, which has at most
    /// [`PARKED_BYTES_MAX`](crate::table::datagram::PARKED_BYTES_MAX), to be sent in again;
    /// false: the daemon does not keep up, and more than so many bytes wait for it.
    fn park(&mut self, parked: &Parked, unread_bytes_max: u32) -> bool;

    /// May the layer-4 checksum field hold just the pseudo-header's sum, to be
    /// completed by a device later? A program cannot see whether it does.
    fn may_be_partial(&self) -> bool;
}

/// The longest run of bytes that a stage sums: an ICMPv6 error's quote.
pub const SUM_BYTES_MAX: u32 = 1280;

/// An outer tag beside the packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OuterTag {
    /// The tag protocol, in network order.
    pub protocol: [u8; 2],
    /// Priority, drop eligibility and VLAN.
    pub tci: u16,
}

impl OuterTag {
    /// As one word, which is never 0: its protocol above its information.
    #[inline(always)]
    #[must_use]
    pub const fn word(self) -> u32 {
        (u16::from_be_bytes(self.protocol) as u32) << 16 | self.tci as u32
    }

    /// Of such a word; 0: there is none.
    #[must_use]
    pub const fn from_word(word: u32) -> Option<Self> {
        let protocol = ((word >> 16) as u16).to_be_bytes();
        if word == 0 { None } else { Some(Self { protocol, tci: word as u16 }) }
    }
}
