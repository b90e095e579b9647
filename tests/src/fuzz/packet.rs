//! One packet of any bytes, at any end of the test site.
//!
//! It comes twice, so that a flow that it opens is used, and perhaps after the first packet
//! of another flow, so that it can answer that one or tell about it.

use crate::{
    check, drive,
    invariants::{Lie, ends, frames, judge},
    packet::Hook,
    rows::Row,
    world::{End, Site},
};

/// How the packet comes in; the frame follows.
#[derive(Clone, Copy, Default)]
struct Head {
    from: u8,
    /// The frame that comes before; 0: none.
    before: u8,
    flags: u8,
    linear: u8,
    segment_bytes: [u8; 2],
    segments: [u8; 2],
}

const HEAD_BYTES: usize = 8;
/// Flags of a head.
const TC: u8 = 1;
const PARTIAL: u8 = 2;
const REFUSING: u8 = 4;
const SEGMENTED: u8 = 8;
/// The IPv4 header's checksum is set right: else few changed packets get past it.
const MENDED: u8 = 16;

/// What every packet meets.
struct Bench {
    site: Site,
    ends: Vec<End>,
    frames: Vec<(End, Vec<u8>)>,
}

thread_local! {
    static BENCH: Bench = Bench::new();
}

/// Sends the packet.
pub fn packet(input: &[u8]) -> Result<(), String> {
    let Some((head, frame)) = input.split_first_chunk() else { return Ok(()) };
    BENCH.with(|bench| bench.send(Head::from(*head), frame))
}

impl Bench {
    fn new() -> Self {
        let site = Site::new();
        let ends = ends(&site);
        let frames = frames(&site).iter().map(|(from, frame)| (*from, frame.build())).collect();
        Self { site, ends, frames }
    }

    fn send(&self, head: Head, frame: &[u8]) -> Result<(), String> {
        drive::forget(&self.site.tables);
        let is = |flag| head.flags & flag != 0;
        let hook = if is(TC) { Hook::Tc } else { Hook::Xdp };
        if let Some((from, frame)) = usize::from(head.before)
            .checked_sub(1)
            .and_then(|before| self.frames.get(before % self.frames.len()))
        {
            let plain = Lie { hook, linear: 0, is_partial: false, segments: None, refuses: false };
            judge(&self.site, *from, frame, &plain)?;
        }
        let [segment_bytes, segments] =
            [head.segment_bytes, head.segments].map(|field| u32::from(u16::from_be_bytes(field)));
        let lie = Lie {
            hook,
            linear: head.linear.into(),
            is_partial: is(PARTIAL),
            segments: is(SEGMENTED).then_some((segment_bytes.max(1), segments)),
            refuses: is(REFUSING),
        };
        let mut frame = frame.to_vec();
        if is(MENDED) {
            check::mend(&mut frame);
        }
        let from = self.ends[usize::from(head.from) % self.ends.len()];
        judge(&self.site, from, &frame, &lie)?;
        judge(&self.site, from, &frame, &lie)
    }
}

impl From<[u8; HEAD_BYTES]> for Head {
    fn from([from, before, flags, linear, a, b, c, d]: [u8; HEAD_BYTES]) -> Self {
        Self { from, before, flags, linear, segment_bytes: [a, b], segments: [c, d] }
    }
}

impl Head {
    fn bytes(self) -> [u8; HEAD_BYTES] {
        let ([a, b], [c, d]) = (self.segment_bytes, self.segments);
        [self.from, self.before, self.flags, self.linear, a, b, c, d]
    }
}

/// The row's packet as an input, if one of the test site's ends sends it.
pub(super) fn seed(row: &Row) -> Option<Vec<u8>> {
    let sent = row.sent_frame();
    let site = Site::new();
    let from = ends(&site).iter().position(|end| end.ifindex == sent.ifindex)?;
    let is_segmented = sent.segment_bytes != 0;
    let head = Head {
        from: from as u8,
        flags: MENDED
            | if row.hooks().contains(&Hook::Xdp) { 0 } else { TC }
            | if is_segmented { SEGMENTED } else { 0 },
        segment_bytes: (sent.segment_bytes as u16).to_be_bytes(),
        ..Head::default()
    };
    Some([&head.bytes()[..], &sent.frame].concat())
}
