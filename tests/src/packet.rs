//! How does a packet behave at either hook, without a kernel?
//!
//! [`HostPacket`] does what the kernel does where a stage could notice: at tcx the
//! outer tag lies beside the frame, only the linear part can be read, the checksum may be
//! unfinished and bounds how far the packet can be cut; new bytes hold rubbish.
#![expect(unsafe_code, reason = "headers are lent out of the packet's bytes, as the trait asks")]

use dataplane_common::{
    Packet, Stop,
    checksum::Sum,
    packet::{OuterTag, SUM_BYTES_MAX},
    table::datagram::{PARKED_BYTES_MAX, Parked},
    wire::{
        Wire,
        ethernet::{CUSTOMER_TAG, SERVICE_TAG, VLAN_MASK},
    },
};

use crate::check;

/// Where the packet is seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hook {
    /// In the driver: linear, its tags in place.
    Xdp,
    /// At tcx.
    Tc,
}

/// A packet on the host.
#[derive(Clone, Debug)]
pub struct HostPacket {
    hook: Hook,
    bytes: Vec<u8>,
    ifindex: u32,
    tag: Option<OuterTag>,
    linear: usize,
    partial: Option<Partial>,
    segment_bytes: u32,
    segments: u32,
    refuses: bool,
    copies: Vec<(u32, Vec<u8>)>,
    parked: Option<Parked>,
}

/// A checksum that a device is to complete.
#[derive(Clone, Copy, Debug)]
struct Partial {
    start: usize,
    field: usize,
}

/// Both bindings refuse headers that begin further in.
const OFFSET_MAX: u32 = 0x0fff;
/// Bytes of the addresses, behind which the tag stands.
const ADDRESSES_BYTES: usize = 12;
/// Undefined content is this.
const RUBBISH: u8 = 0xee;

impl HostPacket {
    /// The frame as it came over the wire to this interface.
    #[must_use]
    pub fn new(hook: Hook, ifindex: u32, frame: &[u8]) -> Self {
        let mut bytes = frame.to_vec();
        let mut tag = None;
        if hook == Hook::Tc
            && let Some(&[p, q, t, c]) = bytes
                .get(ADDRESSES_BYTES..ADDRESSES_BYTES + 4)
                .and_then(|tag| <&[u8; 4]>::try_from(tag).ok())
            && ([p, q] == [0x81, 0x00] || [p, q] == [0x88, 0xa8])
        {
            // The kernel takes the outer tag off before anything sees the frame.
            bytes.drain(ADDRESSES_BYTES..ADDRESSES_BYTES + 4);
            tag = Some(OuterTag { protocol: [p, q], tci: u16::from_be_bytes([t, c]) });
        }
        let linear = bytes.len();
        Self {
            hook,
            bytes,
            ifindex,
            tag,
            linear,
            partial: None,
            segment_bytes: 0,
            segments: 0,
            refuses: false,
            copies: Vec::new(),
            parked: None,
        }
    }

    /// The frame as BPF_PROG_TEST_RUN lays it before a program: its tags are in place at tcx
    /// too, all of it can be read, and its checksums are complete.
    #[must_use]
    pub fn of_test_run(hook: Hook, ifindex: u32, frame: &[u8]) -> Self {
        let mut packet = Self::new(Hook::Xdp, ifindex, frame);
        packet.hook = hook;
        packet
    }

    /// The frame without the tag that lies beside it.
    #[must_use]
    pub fn laid_out(&self) -> &[u8] {
        &self.bytes
    }

    /// Only so many bytes can be read before somebody asks for more.
    #[must_use]
    pub fn linear(mut self, bytes: usize) -> Self {
        if self.hook == Hook::Tc {
            self.linear = bytes.min(self.bytes.len());
        }
        self
    }

    /// The sender left the TCP or UDP checksum to a device.
    #[must_use]
    pub fn partial(mut self) -> Self {
        if let Some(part) = check::transport_checksum(&self.bytes).filter(|_| self.hook == Hook::Tc)
        {
            self.bytes[part.field..part.field + 2].copy_from_slice(&part.pseudo_sum);
            self.partial = Some(Partial { start: part.start, field: part.field });
        }
        self
    }

    /// It stands for several segments of so much payload; `count` 0: not counted yet.
    #[must_use]
    pub fn segments_of(mut self, bytes: u32, count: u32) -> Self {
        if self.hook == Hook::Tc {
            (self.segment_bytes, self.segments) = (bytes, count);
        }
        self
    }

    /// The kernel will refuse to change its size or tag.
    #[must_use]
    pub fn refusing(mut self) -> Self {
        self.refuses = true;
        self
    }

    /// What the daemon was told of it, if it was parked.
    #[must_use]
    pub const fn parked(&self) -> Option<&Parked> {
        self.parked.as_ref()
    }

    /// Is its checksum left to a device?
    #[must_use]
    pub const fn is_partial(&self) -> bool {
        self.partial.is_some()
    }

    /// The frame as the receiver on the wire sees it: tagged, its checksum complete.
    #[must_use]
    pub fn wire(&self) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        if let Some(Partial { start, field }) = self.partial {
            let sum = check::checksum(&bytes[start..]);
            bytes[field..field + 2].copy_from_slice(&sum);
        }
        if let Some(tag) = self.tag {
            let [a, b] = tag.protocol;
            let [c, d] = tag.tci.to_be_bytes();
            bytes.splice(ADDRESSES_BYTES..ADDRESSES_BYTES, [a, b, c, d]);
        }
        bytes
    }

    /// The copies that were sent, each as its receiver sees it, and by which interface.
    #[must_use]
    pub fn copies(&self) -> &[(u32, Vec<u8>)] {
        &self.copies
    }

    fn refuse(&self) -> Result<(), Stop> {
        if self.refuses { Err(Stop::ResizeRefused) } else { Ok(()) }
    }

    fn range<T>(&self, offset: u32) -> Option<core::ops::Range<usize>> {
        let readable = if self.hook == Hook::Tc { self.linear } else { self.bytes.len() };
        let end = offset as usize + size_of::<T>();
        (offset <= OFFSET_MAX && end <= readable).then_some(offset as usize..end)
    }

    fn move_checksum(&mut self, by: isize) {
        if let Some(partial) = &mut self.partial {
            partial.start = partial.start.wrapping_add_signed(by);
            partial.field = partial.field.wrapping_add_signed(by);
        }
    }

    fn insert_tag(&mut self, tag: OuterTag) {
        let [a, b] = tag.protocol;
        let [c, d] = tag.tci.to_be_bytes();
        self.bytes.splice(ADDRESSES_BYTES..ADDRESSES_BYTES, [a, b, c, d]);
    }

    /// Takes the tags out that the frame carries itself; answers what they said, outermost first.
    fn remove_tags(&mut self, inline_bytes: u32) -> Vec<u16> {
        let tags = self.bytes.drain(ADDRESSES_BYTES..ADDRESSES_BYTES + inline_bytes as usize);
        let tags: Vec<_> = tags.collect();
        tags.chunks(4).map(|tag| u16::from_be_bytes([tag[2], tag[3]])).collect()
    }

    /// A tag that was there keeps its priority.
    fn set_vlans_xdp(&mut self, vlans: u32, inline_bytes: u32) {
        let mut before = self.remove_tags(inline_bytes).into_iter().rev();
        for tag in tags(vlans) {
            let priority = before.next().unwrap_or(0) & !VLAN_MASK;
            self.insert_tag(OuterTag { tci: priority | tag.tci, ..tag });
        }
    }

    /// What is right already stays as it is.
    fn set_vlans_tc(&mut self, vlans: u32, inline_bytes: u32) {
        let tci = |tag: &OuterTag| tag.tci & VLAN_MASK;
        let wanted: Vec<_> = tags(vlans).collect();
        if self.tag.is_none() && inline_bytes == 0 && wanted.is_empty() {
            return;
        }
        let inner = self.bytes.get(14..16).map_or(0, |tci| u16::from_be_bytes([tci[0], tci[1]]));
        let is_right = match (&self.tag, &wanted[..], inline_bytes) {
            (Some(now), [tag], 0) => tci(now) == tag.tci,
            (Some(now), [customer, service], 4) => {
                tci(now) == service.tci && inner & VLAN_MASK == customer.tci
            }
            _ => false,
        };
        if is_right {
            return;
        }
        self.remove_tags(inline_bytes);
        self.moved(-(inline_bytes as isize));
        self.tag = None;
        for tag in wanted {
            // The tag before goes into the frame.
            if let Some(inner) = self.tag.replace(tag) {
                self.insert_tag(inner);
                self.moved(4);
            }
        }
    }

    /// What is in the frame lies elsewhere by so much.
    fn moved(&mut self, by: isize) {
        self.linear = self.linear.saturating_add_signed(by);
        self.move_checksum(by);
    }
}

/// The tags that these VLANs stand for, innermost first.
fn tags(vlans: u32) -> impl Iterator<Item = OuterTag> {
    let [service, customer] = [(vlans >> 16) as u16, vlans as u16];
    let all = [(CUSTOMER_TAG, customer), (SERVICE_TAG, service)];
    all.into_iter().filter(|(_, tci)| *tci != 0).map(|(protocol, tci)| OuterTag { protocol, tci })
}

impl Packet for HostPacket {
    fn bytes(&self) -> u32 {
        self.bytes.len() as u32
    }

    fn need(&mut self, n: u32) -> Result<(), Stop> {
        let wanted = (n as usize).min(self.bytes.len());
        self.linear = self.linear.max(wanted);
        Ok(())
    }

    fn get<T: Wire>(&self, offset: u32) -> Option<&T> {
        let bytes = self.bytes.get(self.range::<T>(offset)?)?;
        // SAFETY: as many bytes as `T` has, of alignment 1, valid for all bits (`Wire`).
        Some(unsafe { &*bytes.as_ptr().cast() })
    }

    fn get_mut<T: Wire>(&mut self, offset: u32) -> Option<&mut T> {
        let range = self.range::<T>(offset)?;
        let bytes = self.bytes.get_mut(range)?;
        // SAFETY: as in `get`, and `&mut self` keeps it the only reference.
        Some(unsafe { &mut *bytes.as_mut_ptr().cast() })
    }

    fn sum(&self, offset: u32, bytes: u32) -> Result<Sum, Stop> {
        assert!(bytes.is_multiple_of(4) && bytes <= SUM_BYTES_MAX, "a sum of {bytes} bytes");
        let readable = if self.hook == Hook::Tc { self.linear } else { self.bytes.len() };
        let (start, end) = (offset as usize, (offset + bytes) as usize);
        let summed = self.bytes.get(start..end.min(readable)).ok_or(Stop::Truncated)?;
        if end > readable {
            return Err(Stop::Truncated);
        }
        Ok(summed.chunks(2).fold(Sum::default(), |sum, pair| sum.word([pair[0], pair[1]])))
    }

    fn ifindex(&self) -> u32 {
        self.ifindex
    }

    fn outer_tag(&self) -> Option<OuterTag> {
        self.tag
    }

    fn set_vlans(&mut self, vlans: u32, inline_bytes: u32) -> Result<(), Stop> {
        self.refuse()?;
        match self.hook {
            Hook::Xdp => self.set_vlans_xdp(vlans, inline_bytes),
            Hook::Tc => self.set_vlans_tc(vlans, inline_bytes),
        }
        Ok(())
    }

    fn can_copy(&self) -> bool {
        self.hook == Hook::Tc
    }

    fn copy_to(&mut self, ifindex: u32) -> bool {
        let copy = self.wire();
        self.copies.push((ifindex, copy));
        true
    }

    fn set_bytes(&mut self, bytes: u32) -> Result<(), Stop> {
        self.refuse()?;
        let bytes = bytes as usize;
        if bytes == self.bytes.len() {
            return Ok(());
        }
        // bpf_skb_change_tail does not cut into a checksum that is to be filled in.
        if self.partial.is_some_and(|partial| bytes < partial.field + 2) {
            return Err(Stop::ResizeRefused);
        }
        self.bytes.resize(bytes, RUBBISH);
        self.linear = self.linear.min(bytes);
        (self.segment_bytes, self.segments) = (0, 0);
        Ok(())
    }

    fn grow_front(&mut self, bytes: u32) -> Result<(), Stop> {
        self.refuse()?;
        self.bytes.splice(0..0, vec![RUBBISH; bytes as usize]);
        self.linear += bytes as usize;
        self.move_checksum(bytes as isize);
        Ok(())
    }

    fn segment_bytes(&self) -> u32 {
        self.segment_bytes
    }

    fn segments(&self) -> u32 {
        match (self.segments, self.segment_bytes) {
            (0 | 1, 0) => 1,
            (0, size) => self.bytes().div_ceil(size),
            (count, _) => count,
        }
    }

    fn park(&mut self, parked: &Parked, _: u32) -> bool {
        assert!(self.bytes() <= PARKED_BYTES_MAX, "{} bytes", self.bytes());
        self.parked = Some(*parked);
        true
    }

    fn may_be_partial(&self) -> bool {
        self.hook == Hook::Tc
    }
}
