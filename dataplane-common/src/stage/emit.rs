//! By which interface does it leave, and with which tag?

use crate::packet::Packet;
use crate::stop::Stop;
use crate::tables::{Counter, Note, Tables, note};
use crate::wire::ethernet::ETHERNET_BYTES;
use crate::work::{Work, flags};

/// Tags the frame for its way out and counts it there. The binding then sends it
/// as [`Work::out`] says.
#[inline(always)]
pub fn emit<P: Packet, T: Tables>(
    p: &mut P,
    t: &T,
    w: &mut Work,
    counter: Counter,
) -> Result<(), Stop> {
    w.out = *t.output(w.output).ok_or(Stop::TableMissing)?;
    if w.out.ifindex == 0 {
        return Err(Stop::OutputAbsent);
    }
    p.set_vlan(w.out.vlan as u16, w.is(flags::INLINE_TAG))?;
    t.note(Note { what: note::EMIT, id: w.output, detail: w.out.vlan, zero: 0 });
    t.count(w.output, counter, p.segments(), p.bytes());
    count_headers(p, t, w.output, w, counter);
    Ok(())
}

/// Each segment of a GSO packet has headers of its own on the wire, which counters of
/// whole frames do not see.
#[inline(always)]
pub fn count_headers<P: Packet, T: Tables>(
    p: &P,
    t: &T,
    attachment: u32,
    w: &Work,
    counter: Counter,
) {
    let bytes = more_headers_bytes(p, w);
    if bytes != 0 {
        t.count(attachment, counter, 0, bytes);
    }
}

/// Bytes of the frame as it lies before us, and of its segments' further headers.
#[inline(always)]
pub fn frame_bytes<P: Packet>(p: &P, w: &Work) -> u32 {
    p.bytes().saturating_add(more_headers_bytes(p, w))
}

/// Bytes on the wire without a tag.
#[inline(always)]
pub fn wire_bytes<P: Packet>(p: &P, w: &Work) -> u32 {
    (p.bytes() - w.l3 + ETHERNET_BYTES).saturating_add(more_headers_bytes(p, w))
}

/// The headers of the segments after the first.
#[inline(always)]
fn more_headers_bytes<P: Packet>(p: &P, w: &Work) -> u32 {
    let more = p.segments() - 1;
    if more == 0 {
        return 0;
    }
    more.saturating_mul(ETHERNET_BYTES + w.l3_bytes - w.payload_bytes)
}
