//! Which flow does an ICMP error belong to?
//!
//! An error quotes the packet that it is about. It travels against that packet,
//! so the half-flow that answers the quoted one is the error's own: its key is the
//! quoted key inverted, in the zone where the error arrives (RFC 5508 section 4). Any router on
//! the way may send it, not only the packet's receiver.

use super::{admit, flow, flow_record, parse, route};
use crate::addr::Addr;
use crate::packet::Packet;
use crate::stop::Stop;
use crate::table::attachment_kind;
use crate::table::flow::{FlowKey, status};
use crate::tables::{Note, Tables, note};
use crate::wire::icmp::{ICMP_BYTES, Icmp};
use crate::wire::ipv4::{IPV4_BYTES, Ipv4};
use crate::wire::ipv6::{Extension, Fragment, IPV6_BYTES, Ipv6};
use crate::wire::protocol;
use crate::wire::transport::{PORTS_BYTES, Ports};
use crate::work::{Work, flags};

/// Bytes of a quoted packet that are looked at: the largest IPv4 header, or IPv6's with
/// some extension headers, and eight more.
const QUOTE_BYTES: u32 = 88;
/// Extension headers of a quoted packet that are followed.
const QUOTED_EXTENSIONS_MAX: u32 = 2;

/// Finds the half-flow and puts its key into the work in place of the error's own,
/// which stays if there is none.
#[inline(always)]
pub fn relate<P: Packet, T: Tables>(p: &mut P, t: &T, w: &mut Work) -> Result<(), Stop> {
    let quoted = quoted(p, w)?;
    // The error must go to whoever sent the quoted packet.
    if quoted.src != w.key.dst && !cfg!(feature = "control-error-destination") {
        return Err(Stop::IcmpUnrelated);
    }
    let own = w.key;
    w.key = flow_record::inverse(&quoted, w.is(flags::V6));
    if !flow_record::find(t, w) {
        // By itself it is a message of its type, which rules may permit.
        w.key = own;
        w.key.dst_port = w.icmp;
        return Ok(());
    }
    let cold = t.flow_cold(w.flow).ok_or(Stop::TableMissing)?;
    let is_reply = w.flow_status & status::REPLY != 0;
    let end = if is_reply { cold.responder.load() } else { cold.opener.load() };
    if end != w.sender {
        return Err(Stop::IcmpUnrelated);
    }
    t.note(Note { what: note::RELATED, id: w.flow, ..Note::default() });
    Ok(())
}

/// May whoever sent the error be a router beyond the NIC? By an uplink any may speak, with an
/// address that is none of ours; by an access, where routers have no session, only about the
/// flow of a line, which stands for it from here on.
#[inline(always)]
pub fn admit_router<P: Packet, T: Tables>(p: &mut P, t: &T, w: &mut Work) -> Result<(), Stop> {
    let quoted = quoted(p, w)?;
    let own = w.key;
    w.key = flow_record::inverse(&quoted, w.is(flags::V6));
    let is_known = flow_record::find(t, w);
    if !is_known {
        w.key = own;
    }
    if w.attachment_kind == attachment_kind::ACCESS {
        // About no flow whoever sent the error is asked for a session: in vain, for the reason.
        admit::line(t, w)?;
    }
    w.key = own;
    if !is_known {
        return Ok(());
    }
    flow::charge(t, w);
    let cold = t.flow_cold(w.flow).ok_or(Stop::TableMissing)?;
    let is_reply = w.flow_status & status::REPLY != 0;
    let to = if is_reply { cold.opener.load() } else { cold.responder.load() };
    route::from_beyond(t, w.link, to, &own.src)
}

/// The key of the quoted packet.
#[inline(always)]
fn quoted<P: Packet>(p: &mut P, w: &Work) -> Result<FlowKey, Stop> {
    p.need(w.l4 + ICMP_BYTES + QUOTE_BYTES)?;
    if w.is(flags::V6) { quoted_v6(p, w) } else { quoted_v4(p, w) }
}

#[inline(always)]
fn quoted_v4<P: Packet>(p: &P, w: &Work) -> Result<FlowKey, Stop> {
    let at = w.l4 + ICMP_BYTES;
    if at + IPV4_BYTES > w.l3 + w.l3_bytes {
        return Err(Stop::IcmpUnrelated);
    }
    let ip = *p.get::<Ipv4>(at).ok_or(Stop::IcmpUnrelated)?;
    if ip.version_ihl >> 4 != 4 || ip.header_bytes() < IPV4_BYTES || ip.fragment_offset_bytes() != 0
    {
        return Err(Stop::IcmpUnrelated);
    }
    let key = FlowKey {
        src: Addr::v4(ip.src),
        dst: Addr::v4(ip.dst),
        protocol: ip.protocol,
        zone: w.key.zone,
        ..FlowKey::default()
    };
    quoted_transport(p, w, key, at + ip.header_bytes())
}

#[inline(always)]
fn quoted_v6<P: Packet>(p: &P, w: &Work) -> Result<FlowKey, Stop> {
    let at = w.l4 + ICMP_BYTES;
    if at + IPV6_BYTES > w.l3 + w.l3_bytes {
        return Err(Stop::IcmpUnrelated);
    }
    let ip = *p.get::<Ipv6>(at).ok_or(Stop::IcmpUnrelated)?;
    if ip.version_class_flow[0] >> 4 != 6 {
        return Err(Stop::IcmpUnrelated);
    }
    let mut key = FlowKey {
        src: Addr::v6(ip.src),
        dst: Addr::v6(ip.dst),
        protocol: ip.next_header,
        zone: w.key.zone,
        ..FlowKey::default()
    };
    let mut at = at + IPV6_BYTES;
    let mut left = QUOTED_EXTENSIONS_MAX;
    while left > 0 {
        left -= 1;
        let extension = match key.protocol {
            protocol::FRAGMENT => {
                let fragment = *p.get::<Fragment>(at).ok_or(Stop::IcmpUnrelated)?;
                if !fragment.is_first() {
                    return Err(Stop::IcmpUnrelated);
                }
                Extension { next_header: fragment.next_header, length: 0 }
            }
            protocol::HOP_BY_HOP | protocol::DESTINATION_OPTIONS => {
                *p.get::<Extension>(at).ok_or(Stop::IcmpUnrelated)?
            }
            _ => break,
        };
        key.protocol = extension.next_header;
        at += (u32::from(extension.length) + 1) * 8;
    }
    quoted_transport(p, w, key, at)
}

/// The first eight bytes of the quoted transport header are all that is promised
/// (RFC 792), so no full TCP header is asked for.
#[inline(always)]
fn quoted_transport<P: Packet>(
    p: &P,
    w: &Work,
    mut key: FlowKey,
    at: u32,
) -> Result<FlowKey, Stop> {
    let end = w.l3 + w.l3_bytes;
    let is_v6 = w.is(flags::V6);
    if key.protocol == if is_v6 { protocol::ICMPV6 } else { protocol::ICMP } {
        if at + ICMP_BYTES > end {
            return Err(Stop::IcmpUnrelated);
        }
        let quoted = *p.get::<Icmp>(at).ok_or(Stop::IcmpUnrelated)?;
        if !parse::is_query(quoted.kind, is_v6) {
            return Err(Stop::IcmpUnrelated);
        }
        key.src_port = quoted.id;
        key.dst_port = [quoted.kind, quoted.code];
    } else if has_ports(key.protocol) {
        if at + PORTS_BYTES > end {
            return Err(Stop::IcmpUnrelated);
        }
        let ports = *p.get::<Ports>(at).ok_or(Stop::IcmpUnrelated)?;
        key.src_port = ports.src;
        key.dst_port = ports.dst;
    }
    Ok(key)
}

#[inline(always)]
fn has_ports(number: u8) -> bool {
    matches!(
        number,
        protocol::TCP | protocol::UDP | protocol::UDPLITE | protocol::SCTP | protocol::DCCP
    )
}
