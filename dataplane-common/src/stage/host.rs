//! Is the packet for the host that shares the NIC?
//!
//! What the host has on a link is listed (`host:`): addresses, each with the packets that
//! may come to it, and the protocols of the link itself. That is passed up to the host's
//! own stack, unchanged. No state is kept: what the host sends is not seen here.

use super::{admit, emit, route};
use crate::addr::Addr;
use crate::packet::Packet;
use crate::stop::Stop;
use crate::table::policy::{ANY_PROTOCOL, Rule, family, remote, rule_flags};
use crate::table::route::kind as route_kind;
use crate::tables::{Counter, Note, Tables, note};
use crate::wire::ethernet;
use crate::wire::transport::{ACK, SYN};
use crate::work::{Work, flags, job};

/// Is it of a protocol of the link that the host speaks itself? Such frames have no tag,
/// whatever VLANs there are, and go no further than the next station (IEEE 802.1Q section
/// 8.6.3).
#[inline(always)]
pub fn is_of_the_link<P: Packet>(p: &P, w: &Work, ethertype: [u8; 2]) -> bool {
    let [a, b, c, d, e, last] = w.dst_mac.0;
    if [a, b, c, d, e] != ethernet::RESERVED_GROUP {
        return false;
    }
    match ethertype {
        ethernet::SLOW_PROTOCOLS => {
            // LACP and its marker (IEEE 802.3 annex 57A).
            let subtype = p.get::<[u8; 2]>(w.l3).map_or(0, |bytes| bytes[0]);
            w.is(flags::LACP) && last == 0x02 && matches!(subtype, 1 | 2)
        }
        // Its three groups (IEEE 802.1AB section 7.1).
        ethernet::LLDP => w.is(flags::LLDP) && matches!(last, 0x00 | 0x03 | 0x0e),
        _ => false,
    }
}

/// Is the address the host's, on this link?
#[inline(always)]
pub fn has<T: Tables>(t: &T, w: &Work, addr: &Addr) -> bool {
    w.is(flags::HOST) && t.route(w.link, addr).is_some_and(|route| route.kind == route_kind::HOST)
}

/// May the packet go up to the host? What is not addressed to it goes on as if there were
/// none, and so does what comes from an address inside.
#[inline(always)]
pub fn judge<T: Tables>(t: &T, w: &mut Work) -> Result<bool, Stop> {
    let own = t.route(w.link, &w.key.dst).filter(|route| route.kind == route_kind::HOST);
    let Some(own) = own.filter(|_| !route::is_inside(t, w.link, &w.src())) else {
        return Ok(false);
    };
    admit::admit(t, w)?;
    // Errors come from any router on the way; the host knows what it sent.
    if w.is(flags::ICMP_ERROR) {
        return Ok(true);
    }
    let policy = t.policy(own.zone).ok_or(Stop::TableMissing)?;
    let (key, is_opening) = (w.key, w.is(flags::TCP) && w.tcp_flags & (SYN | ACK) == SYN);
    let (src, dst) = (u16::from_be_bytes(key.src_port), u16::from_be_bytes(key.dst_port));
    let is_permitted = t.has_rule(policy.host, |rule| {
        let is_answer = rule.flags & rule_flags::ANSWERS != 0;
        let port = if is_answer { src } else { dst };
        // An answer opens no connection.
        !(is_answer && is_opening) && matches(rule, key.protocol, port, &key.src)
    });
    if is_permitted { Ok(true) } else { Err(Stop::HostDenied) }
}

/// Is it what the rule says? `port` is the port that it is about.
#[inline(always)]
fn matches(rule: &Rule, protocol: u8, port: u16, addr: &Addr) -> bool {
    let family = if addr.is_v4() { family::V4 } else { family::V6 };
    rule.family == family
        && (rule.protocol == ANY_PROTOCOL || rule.protocol == u16::from(protocol))
        && port >= rule.low
        && port <= rule.high
        && (rule.remote == remote::ANY || addr.is_within(&rule.prefix, rule.prefix_bits as u8))
}

/// It goes up to the host as it came.
#[inline(always)]
pub fn pass<P: Packet, T: Tables>(p: &P, t: &T, w: &mut Work) {
    w.job = job::PASS;
    w.output = w.attachment;
    t.note(Note { what: note::PASSED, ..Note::default() });
    t.count(w.attachment, Counter::Passed, p.segments(), p.bytes());
    emit::count_headers(p, t, w.attachment, w, w.inline_bytes(), Counter::Passed);
}
