//! What does the packet look like when it leaves?

use crate::checksum::Sum;
use crate::packet::Packet;
use crate::stop::Stop;
use crate::table::flow::action;
use crate::table::next_hop::{NextHop, state};
use crate::tables::Tables;
use crate::wire::ethernet::Ethernet;
use crate::wire::ipv4::Ipv4;
use crate::wire::ipv6::Ipv6;
use crate::work::{Work, flags};

/// Makes the packet the next hop's: MACs and hops left when a router forwards it;
/// within a network it stays as it is.
#[inline(always)]
pub fn rewrite<P: Packet, T: Tables>(p: &mut P, t: &T, w: &mut Work) -> Result<(), Stop> {
    let hop = t.next_hop(w.action & action::NEXT_HOP).ok_or(Stop::TableMissing)?;
    if hop.state != state::READY {
        return Err(Stop::NextHopUnresolved);
    }
    w.output = hop.attachment.into();
    w.meters.receiver = hop.meter;
    if w.action & action::ROUTED == 0 {
        w.meters.router = 0;
        return if hop.dst == w.dst_mac { Ok(()) } else { Err(Stop::WrongStation) };
    }
    if w.meters.router == 0 {
        w.meters.router = hop.router_meter;
    }
    has_hops(w)?;
    fits(p, w, hop)?;
    let ethernet = p.get_mut::<Ethernet>(0).ok_or(Stop::Truncated)?;
    ethernet.dst = hop.dst;
    ethernet.src = hop.src;
    if w.is(flags::V6) {
        let ip = p.get_mut::<Ipv6>(w.l3).ok_or(Stop::Truncated)?;
        ip.hop_limit -= 1;
    } else {
        let ip = p.get_mut::<Ipv4>(w.l3).ok_or(Stop::Truncated)?;
        let old = [ip.ttl_hops, ip.protocol];
        ip.ttl_hops -= 1;
        let new = [ip.ttl_hops, ip.protocol];
        ip.checksum = Sum::from_checksum(ip.checksum).replace(old, new).checksum();
    }
    Ok(())
}

/// May the packet make one more hop (RFC 1812 section 5.3.1)?
#[inline(always)]
pub fn has_hops(w: &Work) -> Result<(), Stop> {
    if w.ttl_hops > 1 { Ok(()) } else { Err(Stop::TtlExceeded) }
}

/// Does the packet, or each segment of it, fit the next link?
#[inline(always)]
fn fits<P: Packet>(p: &mut P, w: &mut Work, hop: &NextHop) -> Result<(), Stop> {
    let (segment_bytes, mtu_bytes) = (p.segment_bytes(), u32::from(hop.mtu_bytes));
    if segment_bytes == 0 && w.l3_bytes <= mtu_bytes && p.bytes() - w.l3 > mtu_bytes {
        // What follows the packet in its frame is no part of it.
        p.set_bytes(w.l3 + w.l3_bytes)?;
    }
    let bytes =
        if segment_bytes == 0 { w.l3_bytes } else { w.l3_bytes - w.payload_bytes + segment_bytes };
    if bytes <= mtu_bytes {
        return Ok(());
    }
    w.error_mtu = hop.mtu_bytes;
    Err(Stop::TooBig)
}
