//! What does every network need so much that no rule is asked for it?
//!
//! Neutron's exceptions: DHCP between clients and the ports that are marked as servers, and
//! listener messages (MLD). ARP and neighbour discovery are answered by us.

use crate::addr::Addr;
use crate::stop::Stop;
use crate::table::attachment_kind;
use crate::table::endpoint::{Endpoint, flags};
use crate::table::flow::{FlowKey, action};
use crate::tables::Tables;
use crate::wire::icmp::v6;
use crate::wire::protocol;
use crate::work::{Leg, Work, flags as work_flags};

/// Server and client ports of DHCP (RFC 2131 section 4.1).
const DHCP: [[u8; 2]; 2] = [67_u16.to_be_bytes(), 68_u16.to_be_bytes()];
/// Those of DHCPv6 (RFC 8415 section 7.2).
const DHCP_V6: [[u8; 2]; 2] = [547_u16.to_be_bytes(), 546_u16.to_be_bytes()];

/// A DHCP client's message to a server.
#[inline(always)]
pub fn is_dhcp_question(key: &FlowKey) -> bool {
    let [server, client] = dhcp_ports(key);
    key.protocol == protocol::UDP && key.src_port == client && key.dst_port == server
}

/// A DHCP server's message to a client.
#[inline(always)]
pub fn is_dhcp_answer(key: &FlowKey) -> bool {
    let [server, client] = dhcp_ports(key);
    key.protocol == protocol::UDP && key.src_port == server && key.dst_port == client
}

#[inline(always)]
fn dhcp_ports(key: &FlowKey) -> [[u8; 2]; 2] {
    if key.dst.is_v4() { DHCP } else { DHCP_V6 }
}

/// What a DHCP server says, to whomever, only a port says that is marked as one.
#[inline(always)]
pub fn dhcp_server<T: Tables>(t: &T, w: &Work) -> Result<(), Stop> {
    if w.attachment_kind != attachment_kind::PORTS || !is_dhcp_answer(&w.key) {
        return Ok(());
    }
    let port = t.endpoint(w.sender).ok_or(Stop::TableMissing)?;
    if port.flags & flags::DHCP_SERVER != 0 { Ok(()) } else { Err(Stop::DhcpServer) }
}

/// Does the leg need no rule of either end? Clients and servers of DHCP in one network.
#[inline(always)]
pub fn is_dhcp(leg: &Leg, sender: &Endpoint, receiver: &Endpoint) -> bool {
    let is_near = leg.action & action::ROUTED == 0;
    let is_question = is_dhcp_question(&leg.key) && receiver.flags & flags::DHCP_SERVER != 0;
    let is_answer = is_dhcp_answer(&leg.key) && sender.flags & flags::DHCP_SERVER != 0;
    is_near && (is_question || is_answer)
}

/// Routers of the link, which hear who is done (RFC 2710 section 3.7).
const ALL_ROUTERS: Addr = Addr::v6([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
/// Those that speak MLDv2, which hear its reports (RFC 3810 section 5.2.14).
const LISTENED_TO: Addr = Addr::v6([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x16]);

/// A listener's or querier's message (RFC 2710 section 3, RFC 3810 section 5): it goes no further
/// than the link, from a link-local address, or a report while there is none (RFC 3590 section 4).
#[inline(always)]
pub fn is_listener_message(w: &Work) -> bool {
    let is_report = matches!(w.icmp[0], v6::LISTENER_REPORT | v6::LISTENER_REPORT_V2);
    let is_for_it = match w.icmp[0] {
        // Of any scope: the group that it is about.
        v6::LISTENER_QUERY | v6::LISTENER_REPORT => true,
        v6::LISTENER_DONE => w.key.dst == ALL_ROUTERS,
        v6::LISTENER_REPORT_V2 => w.key.dst == LISTENED_TO,
        _ => false,
    };
    w.is(work_flags::V6)
        && w.key.protocol == protocol::ICMPV6
        && w.ttl_hops == 1
        && is_for_it
        && (w.src().is_link_local() || is_report && w.src().is_unspecified())
}
