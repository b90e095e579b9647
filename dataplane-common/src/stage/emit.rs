//! By which interface does it leave, and with which tags?

use crate::packet::Packet;
use crate::stop::Stop;
use crate::tables::{Counter, Note, Tables, note};
use crate::wire::ethernet::{ETHERNET_BYTES, TAG_BYTES, service_vlan};
use crate::work::Work;

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
    p.set_vlans(w.out.vlan, w.inline_bytes())?;
    t.note(Note { what: note::EMIT, id: w.output, detail: w.out.vlan, zero: 0 });
    t.count(w.output, counter, p.segments(), p.bytes());
    count_headers(p, t, w.output, w, inline_bytes(w.out.vlan), counter);
    Ok(())
}

/// How much of a frame with these VLANs its tags take up at tcx, where the outer one lies
/// beside it. Only there a frame stands for several segments or is copied.
#[inline(always)]
pub const fn inline_bytes(vlans: u32) -> u32 {
    if service_vlan(vlans) != 0 { TAG_BYTES } else { 0 }
}

/// Each segment of a GSO packet has headers of its own on the wire, which counters of
/// whole frames do not see. `inline_bytes`: of the tags in it.
#[inline(always)]
pub fn count_headers<P: Packet, T: Tables>(
    p: &P,
    t: &T,
    attachment: u32,
    w: &Work,
    inline_bytes: u32,
    counter: Counter,
) {
    let bytes = more_headers_bytes(p, w, inline_bytes);
    if bytes != 0 {
        t.count(attachment, counter, 0, bytes);
    }
}

/// Bytes of the frame as it lies before us, and of its segments' further headers.
#[inline(always)]
pub fn frame_bytes<P: Packet>(p: &P, w: &Work) -> u32 {
    p.bytes().saturating_add(more_headers_bytes(p, w, w.inline_bytes()))
}

/// Bytes on the wire without a tag.
#[inline(always)]
pub fn wire_bytes<P: Packet>(p: &P, w: &Work) -> u32 {
    (p.bytes() - w.l3 + ETHERNET_BYTES).saturating_add(more_headers_bytes(p, w, 0))
}

/// The headers of the segments after the first.
#[inline(always)]
fn more_headers_bytes<P: Packet>(p: &P, w: &Work, inline_bytes: u32) -> u32 {
    let more = p.segments() - 1;
    if more == 0 {
        return 0;
    }
    more.saturating_mul(ETHERNET_BYTES + inline_bytes + w.l3_bytes - w.payload_bytes)
}
