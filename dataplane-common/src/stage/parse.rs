//! What does the packet say it is?
//!
//! Every length is compared with what lies before us. What is not supported has a
//! stop of its own. This stage believes nobody's addresses: that is `admit`'s.

use crate::addr::Addr;
use crate::checksum::Sum;
use crate::packet::Packet;
use crate::stop::Stop;
use crate::wire::icmp::{ICMP_BYTES, Icmp, v4, v6};
use crate::wire::ipv4::{IPV4_BYTES, Ipv4};
use crate::wire::ipv6::{EXTENSIONS_MAX, Extension, Fragment, IPV6_BYTES, Ipv6};
use crate::wire::transport::{PORTS_BYTES, Ports, TCP_BYTES, Tcp, UDP_BYTES, Udp};
use crate::wire::{ethernet, protocol};
use crate::work::{Work, flags, job};

/// Bytes of the largest IPv4 header.
const IPV4_BYTES_MAX: u32 = 60;

/// Parses from the network header on.
#[inline(always)]
pub fn parse<P: Packet>(p: &mut P, w: &mut Work, ethertype: [u8; 2]) -> Result<(), Stop> {
    match ethertype {
        ethernet::IPV4 => ipv4(p, w)?,
        ethernet::IPV6 => ipv6(p, w)?,
        ethernet::ARP => {
            w.job = job::ARP;
            return Ok(());
        }
        _ => return Err(Stop::EthertypeUnsupported),
    }
    if !w.is(flags::LATER) {
        transport(p, w)?;
    }
    // Only these have segments; a guest may say what it likes of its frame.
    let has_segments = matches!(w.key.protocol, protocol::TCP | protocol::UDP)
        && w.flags & (flags::FRAGMENT | flags::LATER) == 0;
    if p.segment_bytes() != 0 && !has_segments { Err(Stop::BadTransport) } else { Ok(()) }
}

/// A piece of a datagram: all but the last are multiples of eight bytes, and the whole is no
/// longer than a packet can be, whose length counts `before` bytes of headers, too (RFC 791
/// section 3.2, RFC 8200 section 4.5).
#[inline(always)]
fn piece(
    w: &mut Work,
    id: [u8; 4],
    (before, at, bytes): (u32, u32, u32),
    is_more: bool,
) -> Result<(), Stop> {
    let is_ragged = is_more && !bytes.is_multiple_of(8);
    if bytes == 0 || is_ragged || before + at + bytes > 0xffff {
        return Err(Stop::FragmentBad);
    }
    w.fragment_id = id;
    w.fragment_at = at;
    w.fragment_bytes = bytes;
    w.flags |= if at == 0 { flags::FRAGMENT } else { flags::LATER };
    w.flags |= if is_more { flags::MORE } else { 0 };
    Ok(())
}

#[inline(always)]
fn ipv4<P: Packet>(p: &mut P, w: &mut Work) -> Result<(), Stop> {
    let ip = *p.get::<Ipv4>(w.l3).ok_or(Stop::Truncated)?;
    let header_bytes = ip.header_bytes();
    if ip.version_ihl >> 4 != 4 || header_bytes < IPV4_BYTES || ip.total_bytes() < header_bytes {
        return Err(Stop::BadHeader);
    }
    if w.l3 + ip.total_bytes() > p.bytes() {
        return Err(Stop::Truncated);
    }
    let mut sum = Sum::default()
        .word([ip.version_ihl, ip.tos])
        .word(ip.total_bytes)
        .word(ip.id)
        .word(ip.fragment)
        .word([ip.ttl_hops, ip.protocol])
        .word(ip.checksum)
        .quad(ip.src)
        .quad(ip.dst);
    if header_bytes > IPV4_BYTES {
        p.need(w.l3 + IPV4_BYTES_MAX)?;
        sum = options(p, w, header_bytes, sum)?;
    }
    if sum.fold() != [0xff; 2] {
        return Err(Stop::BadHeader);
    }
    if ip.is_fragment() {
        let id = [0, 0, ip.id[0], ip.id[1]];
        let bytes = ip.total_bytes() - header_bytes;
        piece(w, id, (header_bytes, ip.fragment_offset_bytes(), bytes), ip.is_more())?;
    }
    w.l3_bytes = ip.total_bytes();
    w.ttl_hops = u32::from(ip.ttl_hops);
    w.l4 = w.l3 + header_bytes;
    w.key.src = Addr::v4(ip.src);
    w.key.dst = Addr::v4(ip.dst);
    w.key.protocol = ip.protocol;
    Ok(())
}

/// Adds the options to the header's sum and refuses source routes.
#[inline(always)]
fn options<P: Packet>(p: &P, w: &Work, header_bytes: u32, mut sum: Sum) -> Result<Sum, Stop> {
    /// Loose and strict source and record route (RFC 791 section 3.1).
    const SOURCE_ROUTES: [u8; 2] = [131, 137];
    /// End of list and no operation: the two options of one byte.
    const LAST_SINGLE: u8 = 1;
    /// Further than any option reaches: the list has ended.
    const ENDED: u32 = 1000;
    let mut next = IPV4_BYTES;
    let mut offset = IPV4_BYTES;
    while offset < IPV4_BYTES_MAX {
        if offset < header_bytes {
            let quad = *p.get::<[u8; 4]>(w.l3 + offset).ok_or(Stop::Truncated)?;
            sum = sum.quad(quad);
            // At most four options begin in a quad; the length of one that begins
            // in its last byte is in the next quad.
            let mut at = 0;
            while at < 4 {
                if next == offset + at {
                    let kind = quad[at as usize & 3];
                    if kind == SOURCE_ROUTES[0] || kind == SOURCE_ROUTES[1] {
                        return Err(Stop::SourceRoute);
                    }
                    if kind == 0 {
                        next = ENDED;
                    } else if kind <= LAST_SINGLE {
                        next += 1;
                    } else {
                        let pair = *p.get::<[u8; 2]>(w.l3 + next).ok_or(Stop::Truncated)?;
                        if pair[1] < 2 {
                            return Err(Stop::BadHeader);
                        }
                        // Unknown to the verifier, or else Linux 6.1 follows each range
                        // that it can be in ("processed 1000001 insns (limit 1000000)").
                        next = (next + u32::from(pair[1])) ^ w.zero;
                    }
                }
                at += 1;
            }
        }
        offset += 4;
    }
    // An option that reaches past the header contradicts it.
    if next > header_bytes && next != ENDED {
        return Err(Stop::BadHeader);
    }
    Ok(sum)
}

#[inline(always)]
fn ipv6<P: Packet>(p: &mut P, w: &mut Work) -> Result<(), Stop> {
    p.need(w.l3 + IPV6_BYTES + TCP_BYTES)?;
    let ip = *p.get::<Ipv6>(w.l3).ok_or(Stop::Truncated)?;
    if ip.version_class_flow[0] >> 4 != 6 {
        return Err(Stop::BadHeader);
    }
    w.flags |= flags::V6;
    w.l3_bytes = IPV6_BYTES + u32::from(u16::from_be_bytes(ip.payload_bytes));
    if w.l3 + w.l3_bytes > p.bytes() {
        return Err(Stop::Truncated);
    }
    w.ttl_hops = u32::from(ip.hop_limit);
    w.key.src = Addr::v6(ip.src);
    w.key.dst = Addr::v6(ip.dst);
    if w.key.src.is_v4() || w.key.dst.is_v4() {
        // Mapped addresses never travel (RFC 4291 section 2.5.5.2), and in our keys they are IPv4's.
        return Err(Stop::BadHeader);
    }
    w.l4 = w.l3 + IPV6_BYTES;
    w.key.protocol = ip.next_header;
    extensions(p, w)
}

/// Follows the chain of extension headers to the transport header.
#[inline(always)]
fn extensions<P: Packet>(p: &mut P, w: &mut Work) -> Result<(), Stop> {
    let end = w.l3 + w.l3_bytes;
    let mut left = EXTENSIONS_MAX + 1;
    while left > 0 {
        left -= 1;
        let next = w.key.protocol;
        // Hop-by-hop options stand first or nowhere (RFC 8200 section 4.1).
        let is_options = next == protocol::DESTINATION_OPTIONS
            || (next == protocol::HOP_BY_HOP && left == EXTENSIONS_MAX);
        if !is_options && next != protocol::FRAGMENT {
            break;
        }
        if left == 0 {
            return Err(Stop::ExtensionRefused);
        }
        p.need(w.l4 + 8)?;
        if next == protocol::FRAGMENT {
            let fragment = *p.get::<Fragment>(w.l4).ok_or(Stop::Truncated)?;
            if w.is(flags::FRAGMENT) {
                // A piece of a piece.
                return Err(Stop::ExtensionRefused);
            }
            // The whole datagram has the headers before this one, and this one not.
            let before = w.l4 - w.l3 - IPV6_BYTES;
            w.l4 += 8;
            if !fragment.is_atomic() {
                let bytes = end.saturating_sub(w.l4);
                let span = (before, fragment.offset_bytes(), bytes);
                piece(w, fragment.id, span, fragment.is_more())?;
            }
            if w.is(flags::LATER) {
                return Ok(());
            }
            w.key.protocol = fragment.next_header;
        } else {
            let extension = *p.get::<Extension>(w.l4).ok_or(Stop::Truncated)?;
            w.key.protocol = extension.next_header;
            w.l4 += (u32::from(extension.length) + 1) * 8;
        }
        if w.l4 > end {
            return Err(if w.is(flags::FRAGMENT) { Stop::FragmentTiny } else { Stop::Truncated });
        }
    }
    // Routing headers could lead around the rules (RFC 5095 for type 0).
    if w.key.protocol == protocol::HOP_BY_HOP || w.key.protocol == protocol::ROUTING {
        return Err(Stop::ExtensionRefused);
    }
    Ok(())
}

#[inline(always)]
fn transport<P: Packet>(p: &mut P, w: &mut Work) -> Result<(), Stop> {
    let left_bytes = w.l3 + w.l3_bytes - w.l4;
    let short = if w.is(flags::FRAGMENT) { Stop::FragmentTiny } else { Stop::BadTransport };
    match w.key.protocol {
        protocol::TCP => {
            p.need(w.l4 + TCP_BYTES)?;
            if left_bytes < TCP_BYTES {
                return Err(short);
            }
            let tcp = *p.get::<Tcp>(w.l4).ok_or(Stop::Truncated)?;
            let header_bytes = tcp.header_bytes();
            if header_bytes < TCP_BYTES {
                return Err(Stop::BadTransport);
            }
            if header_bytes > left_bytes {
                return Err(short);
            }
            w.flags |= flags::TCP;
            w.key.src_port = tcp.ports.src;
            w.key.dst_port = tcp.ports.dst;
            w.tcp_flags = tcp.flags;
            w.tcp_seq = u32::from_be_bytes(tcp.seq);
            w.tcp_ack = u32::from_be_bytes(tcp.ack);
            w.tcp_window = u32::from(u16::from_be_bytes(tcp.window));
            w.payload_bytes = left_bytes - header_bytes;
        }
        protocol::UDP | protocol::UDPLITE => {
            p.need(w.l4 + UDP_BYTES)?;
            if left_bytes < UDP_BYTES {
                return Err(short);
            }
            let udp = *p.get::<Udp>(w.l4).ok_or(Stop::Truncated)?;
            let length_bytes = u32::from(u16::from_be_bytes(udp.length_bytes));
            // UDP-Lite's field is a checksum coverage (RFC 3828), of which zero means all.
            let is_length = w.key.protocol == protocol::UDP && !w.is(flags::FRAGMENT);
            if is_length && (length_bytes < UDP_BYTES || length_bytes > left_bytes) {
                return Err(Stop::BadTransport);
            }
            w.key.src_port = udp.ports.src;
            w.key.dst_port = udp.ports.dst;
            w.payload_bytes = left_bytes - UDP_BYTES;
        }
        protocol::SCTP | protocol::DCCP => {
            p.need(w.l4 + PORTS_BYTES)?;
            if left_bytes < PORTS_BYTES {
                return Err(short);
            }
            let ports = *p.get::<Ports>(w.l4).ok_or(Stop::Truncated)?;
            w.key.src_port = ports.src;
            w.key.dst_port = ports.dst;
        }
        protocol::ICMP if !w.is(flags::V6) => icmp(p, w, left_bytes, short)?,
        protocol::ICMPV6 if w.is(flags::V6) => icmp(p, w, left_bytes, short)?,
        _ => {}
    }
    Ok(())
}

#[inline(always)]
fn icmp<P: Packet>(p: &mut P, w: &mut Work, left_bytes: u32, short: Stop) -> Result<(), Stop> {
    p.need(w.l4 + ICMP_BYTES)?;
    if left_bytes < ICMP_BYTES {
        return Err(short);
    }
    let icmp = *p.get::<Icmp>(w.l4).ok_or(Stop::Truncated)?;
    w.icmp = [icmp.kind, icmp.code];
    if is_query(icmp.kind, w.is(flags::V6)) {
        w.flags |= flags::ICMP_QUERY;
        w.key.src_port = icmp.id;
        w.key.dst_port = w.icmp;
        return Ok(());
    }
    if w.is(flags::V6) {
        match icmp.kind {
            v6::UNREACHABLE..=v6::PARAMETER_PROBLEM => w.flags |= flags::ICMP_ERROR,
            v6::ROUTER_SOLICITATION..=v6::REDIRECT => w.job = job::NEIGHBOUR,
            // Listener messages are multicast, and that is their stop.
            v6::LISTENER_QUERY..=v6::LISTENER_DONE | v6::LISTENER_REPORT_V2
                if w.is(flags::GROUP_FRAME) =>
            {
                // A rule may name its type.
                w.key.dst_port = w.icmp;
            }
            _ => return Err(Stop::IcmpUnrelated),
        }
    } else {
        match icmp.kind {
            v4::UNREACHABLE | v4::SOURCE_QUENCH | v4::TIME_EXCEEDED | v4::PARAMETER_PROBLEM => {
                w.flags |= flags::ICMP_ERROR;
            }
            v4::REDIRECT => return Err(Stop::RouterMessage),
            _ => return Err(Stop::IcmpUnrelated),
        }
    }
    Ok(())
}

/// Does a message of this type have an identifier that its reply repeats?
#[inline(always)]
pub(crate) fn is_query(kind: u8, is_v6: bool) -> bool {
    reply_type(kind, is_v6) != kind
}

/// The type of the answer to a query, or of the query to an answer; the type
/// itself if it is neither.
#[inline(always)]
pub(crate) fn reply_type(kind: u8, is_v6: bool) -> u8 {
    if is_v6 {
        match kind {
            v6::ECHO => v6::ECHO_REPLY,
            v6::ECHO_REPLY => v6::ECHO,
            _ => kind,
        }
    } else {
        match kind {
            v4::ECHO => v4::ECHO_REPLY,
            v4::ECHO_REPLY => v4::ECHO,
            v4::TIMESTAMP => v4::TIMESTAMP_REPLY,
            v4::TIMESTAMP_REPLY => v4::TIMESTAMP,
            v4::INFORMATION => v4::INFORMATION_REPLY,
            v4::INFORMATION_REPLY => v4::INFORMATION,
            v4::ADDRESS_MASK => v4::ADDRESS_MASK_REPLY,
            v4::ADDRESS_MASK_REPLY => v4::ADDRESS_MASK,
            _ => kind,
        }
    }
}

/// Is it a query, so that a flow may begin with it?
#[inline(always)]
pub(crate) fn is_request(kind: u8, is_v6: bool) -> bool {
    if is_v6 {
        kind == v6::ECHO
    } else {
        matches!(kind, v4::ECHO | v4::TIMESTAMP | v4::INFORMATION | v4::ADDRESS_MASK)
    }
}
