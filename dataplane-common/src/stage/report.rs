//! When is the sender told why its packet was not forwarded, and how?
//!
//! By an ICMP error (RFC 1812 section 4.3.2, RFC 4443 section 2.4): never about an
//! error, a later fragment, or a frame to a group; only for packets that the
//! sender's own rules permit; from the address of the link that the packet came in
//! on; at a limited rate for each tenant. The quote is cut to a multiple of four
//! bytes, so that sums go by words.

use crate::checksum::Sum;
use crate::packet::Packet;
use crate::stop::Stop;
use crate::tables::Tables;
use crate::wire::ethernet::{
    self, ETHERNET_BYTES, Ethernet, TAG_BYTES, Tag, customer_vlan, service_vlan,
};
use crate::wire::icmp::{ICMP_BYTES, Icmp, v4, v6};
use crate::wire::ipv4::{IPV4_BYTES, Ipv4};
use crate::wire::ipv6::{IPV6_BYTES, Ipv6};
use crate::wire::protocol;
use crate::work::{Work, flags};

/// An ICMPv4 error is at most 576 bytes long (RFC 1812 section 4.3.2.3).
const QUOTE_V4_BYTES_MAX: u32 = 576 - IPV4_BYTES - ICMP_BYTES;
/// An ICMPv6 error fits the least MTU (RFC 4443 section 2.4 (c)).
const QUOTE_V6_BYTES_MAX: u32 = 1280 - IPV6_BYTES - ICMP_BYTES;
/// Precedence "internetwork control" (RFC 1812 section 4.3.2.5).
const TOS: u8 = 0xc0;
/// Hops that an error may make.
const TTL_HOPS: u8 = 64;

/// Type and code of the error that tells the sender of this stop, if any does.
#[inline(always)]
pub fn error_for(stop: Stop, is_v6: bool) -> Option<[u8; 2]> {
    let error = ERRORS[stop as usize][usize::from(is_v6)];
    // Type 0, an echo's reply, is no error.
    if error == [0; 2] { None } else { Some(error) }
}

/// By stop and family, as a table: the verifier follows each arm of a `match`. It has a place
/// for each number that a byte can be, for the verifier believes all of them.
static ERRORS: [[[u8; 2]; 2]; 1 << u8::BITS] = {
    let mut errors = [[[0; 2]; 2]; 1 << u8::BITS];
    errors[Stop::NoRoute as usize] =
        [[v4::UNREACHABLE, v4::CODE_NET_UNREACHABLE], [v6::UNREACHABLE, v6::CODE_NO_ROUTE]];
    let unreachable = [
        [v4::UNREACHABLE, v4::CODE_HOST_UNREACHABLE],
        [v6::UNREACHABLE, v6::CODE_ADDRESS_UNREACHABLE],
    ];
    errors[Stop::UnknownDestination as usize] = unreachable;
    errors[Stop::NextHopUnresolved as usize] = unreachable;
    errors[Stop::TtlExceeded as usize] = [[v4::TIME_EXCEEDED, 0], [v6::TIME_EXCEEDED, 0]];
    // Who lets us fragment its packets is told as well: it then does so itself.
    errors[Stop::TooBig as usize] =
        [[v4::UNREACHABLE, v4::CODE_FRAGMENTATION_NEEDED], [v6::PACKET_TOO_BIG, 0]];
    errors
};

/// May an error be made about the packet at hand?
#[inline(always)]
pub fn may_report(w: &Work) -> bool {
    const NEVER: u32 = flags::ICMP_ERROR | flags::GROUP_FRAME | flags::LATER;
    w.is(flags::ROUTED) && w.flags & NEVER == 0
}

/// Turns the packet into the error about it.
#[inline(always)]
pub fn report<P: Packet, T: Tables>(p: &mut P, t: &T, w: &mut Work) -> Result<(), Stop> {
    let link = *t.zone(w.link).ok_or(Stop::TableMissing)?;
    let is_v6 = w.is(flags::V6);
    let (header_bytes, quote_max) = if is_v6 {
        (IPV6_BYTES + ICMP_BYTES, QUOTE_V6_BYTES_MAX)
    } else {
        (IPV4_BYTES + ICMP_BYTES, QUOTE_V4_BYTES_MAX)
    };
    let own_missing = if is_v6 { link.own_v6.is_unspecified() } else { link.own_v4 == [0; 4] };
    if own_missing {
        return Err(Stop::ToRouter);
    }
    let mut quote_bytes = (if w.l3_bytes < quote_max { w.l3_bytes } else { quote_max }) & !3;
    if p.segment_bytes() != 0 && quote_bytes == w.l3_bytes {
        // A frame that is not cut stays a frame of several segments.
        quote_bytes -= 4;
    }
    p.need(w.l3 + quote_bytes)?;
    p.set_bytes(w.l3 + quote_bytes)?;
    p.need(w.l3 + quote_bytes)?;
    let mut quote = p.sum(w.l3, quote_bytes)?;
    if p.may_be_partial() {
        quote = seal(p, w, quote_bytes, quote)?;
    }
    p.grow_front(header_bytes)?;
    p.need(w.l3 + header_bytes)?;

    let ethernet = p.get_mut::<Ethernet>(0).ok_or(Stop::Truncated)?;
    ethernet.dst = w.src_mac;
    ethernet.src = link.mac;
    let ethertype = if is_v6 { ethernet::IPV6 } else { ethernet::IPV4 };
    tag(p, w, ethertype)?;
    if is_v6 {
        head_v6(p, w, &link.own_v6.bytes(), quote_bytes, quote)?;
    } else {
        head_v4(p, w, link.own_v4, quote_bytes, quote)?;
    }
    w.output = w.attachment;
    Ok(())
}

/// Writes the EtherType, and before it the tags that the frame carries itself: its own again.
#[inline(always)]
fn tag<P: Packet>(p: &mut P, w: &Work, ethertype: [u8; 2]) -> Result<(), Stop> {
    let customer = Tag { tci: customer_vlan(w.vlan).to_be_bytes(), ethertype };
    let outermost = match w.inline_bytes() {
        0 => ethertype,
        TAG_BYTES => {
            *p.get_mut::<Tag>(ETHERNET_BYTES).ok_or(Stop::Truncated)? = customer;
            ethernet::CUSTOMER_TAG
        }
        _ => {
            *p.get_mut::<Tag>(ETHERNET_BYTES + TAG_BYTES).ok_or(Stop::Truncated)? = customer;
            let tci = service_vlan(w.vlan).to_be_bytes();
            let service = Tag { tci, ethertype: ethernet::CUSTOMER_TAG };
            *p.get_mut::<Tag>(ETHERNET_BYTES).ok_or(Stop::Truncated)? = service;
            ethernet::SERVICE_TAG
        }
    };
    p.get_mut::<Ethernet>(0).ok_or(Stop::Truncated)?.ethertype = outermost;
    Ok(())
}

#[inline(always)]
fn head_v4<P: Packet>(
    p: &mut P,
    w: &Work,
    own: [u8; 4],
    quote_bytes: u32,
    quote: Sum,
) -> Result<(), Stop> {
    let total_bytes = ((IPV4_BYTES + ICMP_BYTES + quote_bytes) as u16).to_be_bytes();
    let dst = w.key.src.v4_bytes();
    let sum = Sum::default()
        .word([0x45, TOS])
        .word(total_bytes)
        .word([TTL_HOPS, protocol::ICMP])
        .quad(own)
        .quad(dst);
    // Field by field: a header built on the stack is copied by misaligned words.
    let ip = p.get_mut::<Ipv4>(w.l3).ok_or(Stop::Truncated)?;
    ip.version_ihl = 0x45;
    ip.tos = TOS;
    ip.total_bytes = total_bytes;
    ip.id = [0; 2];
    ip.fragment = [0; 2];
    ip.ttl_hops = TTL_HOPS;
    ip.protocol = protocol::ICMP;
    ip.checksum = sum.checksum();
    ip.src = own;
    ip.dst = dst;
    let is_too_big = w.error == [v4::UNREACHABLE, v4::CODE_FRAGMENTATION_NEEDED];
    let mtu = if is_too_big { w.error_mtu.to_be_bytes() } else { [0; 2] };
    let icmp = p.get_mut::<Icmp>(w.l3 + IPV4_BYTES).ok_or(Stop::Truncated)?;
    *icmp = Icmp {
        kind: w.error[0],
        code: w.error[1],
        checksum: quote.word(w.error).word(mtu).checksum(),
        id: [0; 2],
        sequence: mtu,
    };
    Ok(())
}

#[inline(always)]
fn head_v6<P: Packet>(
    p: &mut P,
    w: &Work,
    own: &[u8; 16],
    quote_bytes: u32,
    quote: Sum,
) -> Result<(), Stop> {
    let payload_bytes = ((ICMP_BYTES + quote_bytes) as u16).to_be_bytes();
    let dst = w.key.src.bytes();
    let ip = p.get_mut::<Ipv6>(w.l3).ok_or(Stop::Truncated)?;
    ip.version_class_flow = [0x6c, 0, 0, 0];
    ip.payload_bytes = payload_bytes;
    ip.next_header = protocol::ICMPV6;
    ip.hop_limit = TTL_HOPS;
    ip.src = *own;
    ip.dst = dst;
    let mtu = if w.error[0] == v6::PACKET_TOO_BIG { w.error_mtu.to_be_bytes() } else { [0; 2] };
    let sum = quote
        .addr(*own)
        .addr(dst)
        .word(payload_bytes)
        .word([0, protocol::ICMPV6])
        .word(w.error)
        .word(mtu);
    let icmp = p.get_mut::<Icmp>(w.l3 + IPV6_BYTES).ok_or(Stop::Truncated)?;
    *icmp = Icmp {
        kind: w.error[0],
        code: w.error[1],
        checksum: sum.checksum(),
        id: [0; 2],
        sequence: mtu,
    };
    Ok(())
}

/// Where a device may yet fill in the quoted packet's checksum, it is set so that
/// filling it in changes nothing.
///
/// The device sums from the transport header to the end of the frame, the field f
/// included, and writes the complement into f. Let S be the sum of the rest and
/// t = 0xffff - S: f stays if S + f = 0xffff - f, that is 2f = t in ones'
/// complement: f = t / 2 if t is even, else (t + 0xffff) / 2.
#[inline(always)]
fn seal<P: Packet>(p: &mut P, w: &Work, quote_bytes: u32, quote: Sum) -> Result<Sum, Stop> {
    let offset = match w.key.protocol {
        protocol::TCP => 16,
        protocol::UDP | protocol::UDPLITE => 6,
        _ => return Ok(quote),
    };
    let at = w.l4 + offset;
    if at + 2 > w.l3 + quote_bytes {
        return Ok(quote);
    }
    // What stands before the transport header is not in the device's sum.
    let before = p.sum(w.l3, w.l4 - w.l3)?;
    let field = p.get_mut::<[u8; 2]>(at).ok_or(Stop::Truncated)?;
    let old = *field;
    // S = quote - before - f, each subtraction the addition of a complement.
    let rest = quote.minus(before.fold()).minus(old);
    let t = 0xffff - u32::from(u16::from_be_bytes(rest.fold()));
    let new = (if t & 1 == 0 { t / 2 } else { (t + 0xffff) / 2 }) as u16;
    *field = new.to_be_bytes();
    Ok(quote.replace(old, new.to_be_bytes()))
}
