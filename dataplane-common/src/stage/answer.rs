//! What do we answer ourselves: ARP, neighbour discovery, and echo to a router?
//!
//! A question is turned into its answer in place and goes back where it came from.
//! We never answer for an address of the port that asks: its duplicate detection
//! (RFC 4862 section 5.4, RFC 5227) has to find nobody.

use super::{admit, host};
use crate::addr::{Addr, Mac};
use crate::checksum::Sum;
use crate::packet::{Packet, SUM_BYTES_MAX};
use crate::stop::Stop;
use crate::table::route::kind as route_kind;
use crate::table::zone::Zone;
use crate::table::{Location, LocationKey, PermitKey, attachment_kind, location};
use crate::tables::{Heard, Tables};
use crate::wire::arp::{self, Arp};
use crate::wire::ethernet::{ETHERNET_BYTES, Ethernet, TAG_BYTES};
use crate::wire::icmp::{
    ICMP_BYTES, Icmp, LINK_ADDRESS_BYTES, LinkAddress, NEIGHBOUR_BYTES, Neighbour, v4, v6,
};
use crate::wire::ipv4::Ipv4;
use crate::wire::ipv6::{IPV6_BYTES, Ipv6};
use crate::wire::protocol;
use crate::work::{Work, flags, job};

/// Hops that our own packets may make (RFC 1700).
const TTL_HOPS: u8 = 64;

/// An address is said to have this MAC.
struct Said {
    addr: Addr,
    mac: Mac,
    /// Whatever was known of it.
    overrides: bool,
}

/// "Who has the target?" is answered with the target's MAC.
#[inline(always)]
pub fn arp<P: Packet, T: Tables>(p: &mut P, t: &T, w: &mut Work) -> Result<(), Stop> {
    p.need(w.l3 + arp::ARP_BYTES)?;
    let question = *p.get::<Arp>(w.l3).ok_or(Stop::Truncated)?;
    if question.format != arp::ETHERNET_IPV4 {
        return Err(Stop::ArpUnanswered);
    }
    let (sender, target) = (Addr::v4(question.sender), Addr::v4(question.target));
    if w.attachment_kind == attachment_kind::PORTS {
        let is_claim_good = sender.is_unspecified() || admit::sender_has(t, w, &sender)?;
        if question.sender_mac != w.src_mac || !is_claim_good {
            return Err(Stop::SpoofedArp);
        }
    }
    let said = Said { addr: sender, mac: question.sender_mac, overrides: true };
    let is_announced = w.is(flags::GROUP_FRAME) && sender == target;
    let is_answer = w.is(flags::ROUTED) && question.operation == arp::REPLY;
    if sender != target && host::has(t, w, &target) {
        // The daemon may have asked from the host's address, too.
        if is_answer {
            let _ = hear(p, t, w, &said);
        }
        w.job = job::PASS;
        return Ok(());
    }
    if is_announced || is_answer {
        return hear(p, t, w, &said)?.ok_or(Stop::ArpUnanswered);
    }
    if question.operation != arp::REQUEST || sender == target {
        return Err(Stop::ArpUnanswered);
    }
    let is_probe = sender.is_unspecified();
    let (mac, _) = who_has(t, w, &target, is_probe)?.ok_or(Stop::ArpUnanswered)?;
    let answer = p.get_mut::<Arp>(w.l3).ok_or(Stop::Truncated)?;
    answer.operation = arp::REPLY;
    answer.sender_mac = mac;
    answer.sender = question.target;
    answer.target_mac = question.sender_mac;
    answer.target = question.sender;
    turn_round(p, w, w.src_mac, mac)
}

/// A solicitation is answered with an advertisement (RFC 4861 section 7.2.4).
#[inline(always)]
pub fn neighbour<P: Packet, T: Tables>(p: &mut P, t: &T, w: &mut Work) -> Result<(), Stop> {
    match w.icmp[0] {
        v6::ROUTER_ADVERTISEMENT | v6::REDIRECT => return Err(Stop::RouterMessage),
        v6::NEIGHBOUR_SOLICITATION | v6::NEIGHBOUR_ADVERTISEMENT => {}
        _ => return Err(Stop::NeighbourUnanswered),
    }
    let end = w.l4 + NEIGHBOUR_BYTES;
    if end > w.l3 + w.l3_bytes {
        return Err(Stop::BadTransport);
    }
    p.need(end + LINK_ADDRESS_BYTES)?;
    // Behind extension headers nothing is believed (RFC 6980).
    if w.l4 != w.l3 + IPV6_BYTES || w.ttl_hops != u32::from(v6::NEIGHBOUR_HOP_LIMIT) {
        return Err(Stop::SpoofedNeighbour);
    }
    check_sum(p, w)?;
    let question = *p.get::<Neighbour>(w.l4).ok_or(Stop::Truncated)?;
    let target = Addr::v6(question.target);
    let is_solicitation = w.icmp[0] == v6::NEIGHBOUR_SOLICITATION;
    if w.attachment_kind == attachment_kind::PORTS {
        claims(p, t, w, &target, is_solicitation)?;
    }
    let overrides = question.icmp.id[0] & v6::FLAG_OVERRIDE != 0;
    let said = Said { addr: target, mac: w.src_mac, overrides };
    if is_hosts_neighbour(t, w, &target, is_solicitation) {
        if !is_solicitation {
            let _ = hear(p, t, w, &said);
        }
        w.job = job::PASS;
        return Ok(());
    }
    if !is_solicitation {
        let mac = p.get::<LinkAddress>(end).filter(|option| {
            end + LINK_ADDRESS_BYTES <= w.l3 + w.l3_bytes
                && option.kind == v6::OPTION_TARGET_ADDRESS
        });
        let mac = mac.map_or(w.src_mac, |option| option.mac);
        return hear(p, t, w, &Said { mac, ..said })?.ok_or(Stop::NeighbourUnanswered);
    }
    let is_probe = w.src().is_unspecified();
    let Some((mac, is_router)) = who_has(t, w, &target, is_probe)? else {
        // Whoever looks whether it may have a link-local address gets it, if nobody has it.
        let told = if is_probe { claim_link_local(t, w, &said)? } else { None };
        return told.ok_or(Stop::NeighbourUnanswered);
    };
    advertise(p, w, &target, mac, is_router)
}

/// Is the message's checksum right (RFC 4861 sections 7.1.1 and 7.1.2)? It stands for more than
/// a router makes of other packets: it is answered, or believed.
#[inline(always)]
fn check_sum<P: Packet>(p: &mut P, w: &Work) -> Result<(), Stop> {
    let bytes = w.l3 + w.l3_bytes - w.l4;
    // Whole options, as short as one writes them.
    if !bytes.is_multiple_of(8) || bytes > SUM_BYTES_MAX {
        return Err(Stop::BadTransport);
    }
    p.need(w.l4 + bytes)?;
    let sum = p
        .sum(w.l4, bytes)?
        .addr(w.key.src.bytes())
        .addr(w.key.dst.bytes())
        .word((bytes as u16).to_be_bytes())
        .word([0, protocol::ICMPV6]);
    if sum.fold() == [0xff; 2] { Ok(()) } else { Err(Stop::BadTransport) }
}

/// Is it a question for an address of the host's, or an answer to the host? The host asks
/// from its link-local address, too, which nobody lists.
#[inline(always)]
fn is_hosts_neighbour<T: Tables>(t: &T, w: &Work, target: &Addr, is_solicitation: bool) -> bool {
    let subject = if is_solicitation { *target } else { w.key.dst };
    let is_link_local = w.is(flags::HOST) && subject.is_link_local();
    let is_own = t.zone(w.link).is_some_and(|link| is_own_address(link, &subject));
    host::has(t, w, &subject) || is_link_local && !is_own
}

/// What a port says of itself has to be true: its source, the target of an
/// advertisement, and the MAC in the option.
#[inline(always)]
fn claims<P: Packet, T: Tables>(
    p: &P,
    t: &T,
    w: &Work,
    target: &Addr,
    is_solicitation: bool,
) -> Result<(), Stop> {
    let is_probe = is_solicitation && w.src().is_unspecified();
    let is_claim = !is_solicitation && w.src() == *target && is_free_link_local(t, w, target);
    if !is_probe && !is_claim && !admit::sender_has(t, w, &w.src())? {
        return Err(Stop::SpoofedNeighbour);
    }
    if !is_solicitation && !is_claim && !admit::sender_has(t, w, target)? {
        return Err(Stop::SpoofedNeighbour);
    }
    let option_at = w.l4 + NEIGHBOUR_BYTES;
    if option_at + LINK_ADDRESS_BYTES <= w.l3 + w.l3_bytes {
        let option = p.get::<LinkAddress>(option_at).ok_or(Stop::Truncated)?;
        let is_address =
            matches!(option.kind, v6::OPTION_SOURCE_ADDRESS | v6::OPTION_TARGET_ADDRESS);
        if is_address && option.mac != w.src_mac {
            return Err(Stop::SpoofedNeighbour);
        }
    }
    Ok(())
}

/// All nodes of the link (RFC 4291 section 2.7.1), and their MAC.
const ALL_NODES: Addr = Addr::v6([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
const ALL_NODES_MAC: Mac = Mac([0x33, 0x33, 0, 0, 0, 1]);

#[inline(always)]
fn advertise<P: Packet>(
    p: &mut P,
    w: &mut Work,
    target: &Addr,
    mac: Mac,
    is_router: bool,
) -> Result<(), Stop> {
    const PAYLOAD_BYTES: u32 = NEIGHBOUR_BYTES + LINK_ADDRESS_BYTES;
    // A duplicate detection has no address to be answered at: all nodes hear it.
    let is_probe = w.src().is_unspecified();
    let dst = if is_probe { ALL_NODES } else { w.src() };
    let dst_mac = if is_probe { ALL_NODES_MAC } else { w.src_mac };

    // Where it lies by now (`neighbour` has looked), as one of three numbers: of the work's own
    // Linux 6.1 compares one copy and adds another ("R3 offset is outside of the packet").
    let tags_bytes = match w.inline_bytes() {
        0 => 0,
        TAG_BYTES => TAG_BYTES,
        _ => 2 * TAG_BYTES,
    };
    let l4 = ETHERNET_BYTES + IPV6_BYTES + tags_bytes;
    p.set_bytes(l4 + PAYLOAD_BYTES)?;
    p.need(l4 + PAYLOAD_BYTES)?;
    let ip = p.get_mut::<Ipv6>(w.l3).ok_or(Stop::Truncated)?;
    ip.payload_bytes = (PAYLOAD_BYTES as u16).to_be_bytes();
    ip.hop_limit = v6::NEIGHBOUR_HOP_LIMIT;
    ip.src = target.bytes();
    ip.dst = dst.bytes();

    let flags = if is_router { v6::FLAG_ROUTER } else { 0 }
        | if is_probe { 0 } else { v6::FLAG_SOLICITED }
        | v6::FLAG_OVERRIDE;
    let [a, b, c, d, e, f] = mac.0;
    let sum = Sum::default()
        .addr(target.bytes())
        .addr(dst.bytes())
        .word((PAYLOAD_BYTES as u16).to_be_bytes())
        .word([0, protocol::ICMPV6])
        .word([v6::NEIGHBOUR_ADVERTISEMENT, 0])
        .word([flags, 0])
        .addr(target.bytes())
        .word([v6::OPTION_TARGET_ADDRESS, 1])
        .word([a, b])
        .word([c, d])
        .word([e, f]);
    let advertisement = p.get_mut::<Neighbour>(l4).ok_or(Stop::Truncated)?;
    advertisement.icmp = Icmp {
        kind: v6::NEIGHBOUR_ADVERTISEMENT,
        code: 0,
        checksum: sum.checksum(),
        id: [flags, 0],
        sequence: [0; 2],
    };
    advertisement.target = target.bytes();
    let option = p.get_mut::<LinkAddress>(l4 + NEIGHBOUR_BYTES).ok_or(Stop::Truncated)?;
    *option = LinkAddress { kind: v6::OPTION_TARGET_ADDRESS, length: 1, mac };
    turn_round(p, w, dst_mac, mac)
}

/// On a NIC the daemon wants to hear which MACs the next hops have that it asks for, and
/// nobody else's; of tenants' ports, who has now what several may have.
#[inline(always)]
fn hear<P: Packet, T: Tables>(p: &P, t: &T, w: &mut Work, said: &Said) -> Result<Option<()>, Stop> {
    let location = t.location(&LocationKey { addr: said.addr, zone: w.link, zero: 0 });
    if w.attachment_kind == attachment_kind::PORTS {
        let Some(location) = location else { return claim_link_local(t, w, said) };
        return announce(p, t, w, said, location);
    }
    if location.is_none() || said.mac.is_multicast() {
        return Ok(None);
    }
    tell(t, w, said)?;
    w.job = job::HEAR;
    Ok(Some(()))
}

/// A port says that it has an address which others may have as well. Its network hears it,
/// and the daemon, also where the address is this port's already: it may be about to give it
/// to another that has said so before.
#[inline(always)]
fn announce<P: Packet, T: Tables>(
    p: &P,
    t: &T,
    w: &mut Work,
    said: &Said,
    known: &Location,
) -> Result<Option<()>, Stop> {
    let to_all = if w.is(flags::V6) { ALL_NODES_MAC } else { Mac::BROADCAST };
    let is_to_all = w.dst_mac == to_all && (!w.is(flags::V6) || w.key.dst == ALL_NODES);
    // Whoever may send from the addresses of a prefix, or from any, may not take each of them.
    let permit = PermitKey { endpoint: w.sender, mac: w.src_mac, zero: [0; 6], addr: said.addr };
    if known.flags & location::SHARED == 0 || !is_to_all || !t.is_permitted_alone(&permit) {
        return Ok(None);
    }
    if w.is(flags::V6) && !(said.overrides && has_one_option(p, w)) {
        return Ok(None);
    }
    tell(t, w, said)?;
    w.job = if p.can_copy() { job::ANNOUNCE } else { job::HEAR };
    Ok(Some(()))
}

/// Is the target's MAC, which [`claims`] has looked at, all that the advertisement says? Of two
/// one station believes the first, another the last.
#[inline(always)]
fn has_one_option<P: Packet>(p: &P, w: &Work) -> bool {
    let option_at = w.l4 + NEIGHBOUR_BYTES;
    let option = p.get::<LinkAddress>(option_at);
    w.l3 + w.l3_bytes == option_at + LINK_ADDRESS_BYTES
        && option.is_some_and(|o| o.kind == v6::OPTION_TARGET_ADDRESS && o.length == 1)
}

/// A port takes a link-local address that nobody has.
#[inline(always)]
fn claim_link_local<T: Tables>(t: &T, w: &mut Work, said: &Said) -> Result<Option<()>, Stop> {
    if !is_free_link_local(t, w, &said.addr) {
        return Ok(None);
    }
    tell(t, w, said)?;
    w.job = job::HEAR;
    Ok(Some(()))
}

#[inline(always)]
fn is_free_link_local<T: Tables>(t: &T, w: &Work, addr: &Addr) -> bool {
    let key = LocationKey { addr: *addr, zone: w.link, zero: 0 };
    let is_possible = w.attachment_kind == attachment_kind::PORTS && !addr.is_v4();
    is_possible && addr.is_link_local() && t.location(&key).is_none()
}

/// The daemon is told, as often as the tenant may tell it, or whoever is on a NIC's link.
#[inline(always)]
fn tell<T: Tables>(t: &T, w: &Work, said: &Said) -> Result<(), Stop> {
    let is_port = w.attachment_kind == attachment_kind::PORTS;
    // What is no port's own MAC has been refused.
    let mac = if is_port { w.src_mac } else { said.mac };
    let may = if is_port { t.may_claim(w.tenant) } else { t.may_hear(w.attachment) };
    let (attachment, overrides) = (w.attachment, u32::from(said.overrides));
    let heard = Heard { addr: said.addr, mac: mac.word(), attachment, overrides };
    if may && t.hear(&heard) { Ok(()) } else { Err(Stop::ClaimRate) }
}

/// Who on this link has the address, as far as we answer for it, and is it a router? A port
/// that looks whether it may have an address which it shares is not told of the others.
#[inline(always)]
fn who_has<T: Tables>(
    t: &T,
    w: &Work,
    target: &Addr,
    is_probe: bool,
) -> Result<Option<(Mac, bool)>, Stop> {
    let link = t.zone(w.link).ok_or(Stop::TableMissing)?;
    if w.attachment_kind == attachment_kind::PORTS {
        let key = LocationKey { addr: *target, zone: w.link, zero: 0 };
        let Some(found) = t.location(&key) else { return Ok(None) };
        let is_shared = is_probe && found.flags & location::SHARED != 0;
        let is_own = found.endpoint == w.sender || is_shared && admit::sender_has(t, w, target)?;
        return Ok(if is_own { None } else { Some((found.mac, found.endpoint == 0)) });
    }
    let is_ours = is_own_address(link, target) || is_exported(t, w, target);
    Ok(if is_ours { Some((link.mac, true)) } else { None })
}

/// Is it our own address on the link?
#[inline(always)]
fn is_own_address(link: &Zone, target: &Addr) -> bool {
    !target.is_unspecified() && (*target == Addr::v4(link.own_v4) || *target == link.own_v6)
}

/// Does a router or access of ours export the address to this uplink?
#[inline(always)]
fn is_exported<T: Tables>(t: &T, w: &Work, target: &Addr) -> bool {
    w.is_inbound()
        && t.route(w.link, target)
            .is_some_and(|route| matches!(route.kind, route_kind::ROUTER | route_kind::POOL))
}

/// An echo request to one of the router's addresses.
#[inline(always)]
pub fn echo<P: Packet, T: Tables>(p: &mut P, t: &T, w: &mut Work) -> Result<(), Stop> {
    let mac = t.zone(w.link).ok_or(Stop::TableMissing)?.mac;
    let icmp = p.get_mut::<Icmp>(w.l4).ok_or(Stop::Truncated)?;
    let reply = if w.is(flags::V6) { v6::ECHO_REPLY } else { v4::ECHO_REPLY };
    let sum = Sum::from_checksum(icmp.checksum).replace([icmp.kind, icmp.code], [reply, icmp.code]);
    icmp.checksum = sum.checksum();
    icmp.kind = reply;
    // Both addresses change places, which changes no sum.
    if w.is(flags::V6) {
        let ip = p.get_mut::<Ipv6>(w.l3).ok_or(Stop::Truncated)?;
        (ip.src, ip.dst) = (ip.dst, ip.src);
        ip.hop_limit = TTL_HOPS;
    } else {
        let ip = p.get_mut::<Ipv4>(w.l3).ok_or(Stop::Truncated)?;
        (ip.src, ip.dst) = (ip.dst, ip.src);
        let old = [ip.ttl_hops, ip.protocol];
        ip.ttl_hops = TTL_HOPS;
        let new = [ip.ttl_hops, ip.protocol];
        ip.checksum = Sum::from_checksum(ip.checksum).replace(old, new).checksum();
    }
    turn_round(p, w, w.src_mac, mac)
}

/// Is the packet at hand a whole echo request?
#[inline(always)]
pub fn is_echo(w: &Work) -> bool {
    let request = if w.is(flags::V6) { v6::ECHO } else { v4::ECHO };
    w.is(flags::ICMP_QUERY)
        && !w.is(flags::FRAGMENT)
        && w.icmp == [request, 0]
        && w.l3 + w.l3_bytes >= w.l4 + ICMP_BYTES
}

/// The frame goes back where it came from.
#[inline(always)]
fn turn_round<P: Packet>(p: &mut P, w: &mut Work, dst: Mac, src: Mac) -> Result<(), Stop> {
    let ethernet = p.get_mut::<Ethernet>(0).ok_or(Stop::Truncated)?;
    ethernet.dst = dst;
    ethernet.src = src;
    w.output = w.attachment;
    Ok(())
}
