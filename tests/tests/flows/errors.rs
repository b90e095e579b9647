//! ICMP errors that belong to a flow pass with it, and no others.

use dataplane_common::{
    Stop,
    table::{endpoint::flags::SUSPENDED, next_hop::state},
};
use sekisho_tests::{
    build::{Frame, tcp::SYN},
    check, drive,
    world::{End, Site},
};

use crate::{answer, answer_in, question, question_out};

/// An error of this type about the quoted frame.
fn error(s: &Site, from: End, addrs: (&str, &str), kind: u8, quoted: &Frame) -> Frame {
    s.routed(from).ip(addrs.0, addrs.1).icmp(kind, 1, [0; 4]).payload(&quoted.packet())
}

/// What of a's question travels outside.
fn quoted(s: &Site) -> Frame {
    question_out(s).ttl(60)
}

/// It is forwarded to a by one hop, and otherwise as it came; answers how.
fn arrives(s: &Site, from: End, related: &Frame) -> Vec<u8> {
    let outcome = s.send(from, related);
    let expected = s.forwarded(related, 63, s.a).build();
    assert!(
        matches!(&outcome.end, drive::End::Left { output, frame, .. }
            if *output == s.a.attachment && *frame == expected),
        "{:?}",
        outcome.end
    );
    expected
}

#[test]
fn an_error_from_outside_follows_the_flow() {
    let s = Site::new();
    let related = error(&s, s.uplink, ("7.7.7.7", "10.1.0.10"), 11, &quoted(&s));
    s.stops(s.uplink, &related, Stop::IcmpUnrelated);
    s.passes(s.a, &question_out(&s), s.uplink);
    let arrived = arrives(&s, s.uplink, &related);
    assert_eq!(check::well_formed(&arrived), Ok(()));
}

#[test]
fn an_error_follows_the_flow_in_the_openers_direction() {
    let s = Site::new();
    s.passes(s.a, &question_out(&s), s.uplink);
    s.passes(s.uplink, &answer_in(&s), s.a);
    let related = error(&s, s.a, ("10.1.0.10", "8.8.8.8"), 3, &answer_in(&s));
    s.passes(s.a, &related, s.uplink);
}

#[test]
fn an_error_within_a_network() {
    let s = Site::new();
    s.passes(s.a, &question(&s), s.b);
    let related =
        error(&s, s.b, ("10.1.0.20", "10.1.0.10"), 3, &question(&s)).eth(s.b.mac, s.a.mac);
    s.passes(s.b, &related, s.a);
    s.passes(s.b, &answer(&s), s.a);
    let related = error(&s, s.a, ("10.1.0.10", "10.1.0.20"), 3, &answer(&s)).eth(s.a.mac, s.b.mac);
    s.passes(s.a, &related, s.b);
}

#[test]
fn an_error_of_ipv6_follows_the_flow() {
    let s = Site::new();
    let syn = s.routed(s.a).ip("2001:db8:1::10", "2001:db8:99::1").tcp(1000, 80, SYN, 5, 0);
    s.passes(s.a, &syn, s.uplink);
    let too_big = s.routed(s.uplink).ip("2001:db8:77::7", "2001:db8:1::10");
    let too_big = too_big.icmp(2, 0, [0, 0, 5, 0]).payload(&syn.packet());
    s.passes(s.uplink, &too_big, s.a);
}

#[test]
fn an_error_about_a_packet_with_extensions_follows_the_flow() {
    let s = Site::new();
    let question = s.routed(s.a).ip("2001:db8:1::10", "2001:db8:99::1").udp(1000, 53);
    let options = [0, 1, 4, 0, 0, 0, 0];
    let too_big = |quoted: Frame| {
        let error = s.routed(s.uplink).ip("2001:db8:77::7", "2001:db8:1::10");
        error.icmp(2, 0, [0, 0, 5, 0]).payload(&quoted.packet())
    };
    let piece = question.clone().fragment_v6(0, true);
    let optional = question.clone().extension(60, &options);
    s.stops(s.uplink, &too_big(piece.clone()), Stop::IcmpUnrelated);
    s.passes(s.a, &question, s.uplink);
    s.passes(s.uplink, &too_big(piece.clone()), s.a);
    s.passes(s.uplink, &too_big(optional.clone()), s.a);
    s.passes(s.uplink, &too_big(optional.clone().fragment_v6(0, true)), s.a);
    // A later piece has no ports; a third header is not followed.
    let later = question.clone().fragment_v6(8, false);
    s.stops(s.uplink, &too_big(later), Stop::IcmpUnrelated);
    let chain = optional.extension(60, &options).fragment_v6(0, true);
    s.stops(s.uplink, &too_big(chain), Stop::IcmpUnrelated);
}

#[test]
fn an_error_about_an_echo_follows_it() {
    let s = Site::new();
    let echo = s.routed(s.a).ip("10.1.0.10", "8.8.8.8").icmp(8, 0, [0, 7, 0, 1]);
    s.passes(s.a, &echo, s.uplink);
    s.passes(s.uplink, &error(&s, s.uplink, ("7.7.7.7", "10.1.0.10"), 11, &echo), s.a);
    let other = s.routed(s.a).ip("10.1.0.10", "8.8.8.8").icmp(8, 0, [0, 8, 0, 1]);
    let other = error(&s, s.uplink, ("7.7.7.7", "10.1.0.10"), 11, &other);
    s.stops(s.uplink, &other, Stop::IcmpUnrelated);
}

#[test]
fn eight_bytes_of_the_transport_header_are_enough_and_fewer_ports_are_not() {
    let s = Site::new();
    let syn = s.routed(s.a).ip("10.1.0.10", "8.8.8.8").tcp(1000, 80, SYN, 5, 0);
    s.passes(s.a, &syn, s.uplink);
    let error = |bytes: usize| {
        let frame = s.routed(s.uplink).ip("7.7.7.7", "10.1.0.10").icmp(3, 1, [0; 4]);
        frame.payload(&syn.packet()[..bytes])
    };
    s.passes(s.uplink, &error(28), s.a);
    s.stops(s.uplink, &error(23), Stop::IcmpUnrelated);
    s.stops(s.uplink, &error(19), Stop::IcmpUnrelated);
    // What is missing does not count if it stands in the padding.
    let padded = error(20).padding(&syn.packet()[20..]);
    s.stops(s.uplink, &padded, Stop::IcmpUnrelated);
}

#[test]
fn forged_errors_are_refused() {
    let s = Site::new();
    s.passes(s.a, &question_out(&s), s.uplink);
    let refused = |from: End, addrs, quoted: &Frame| {
        s.stops(from, &error(&s, from, addrs, 3, quoted), Stop::IcmpUnrelated);
    };
    // To somebody else than the quoted packet's sender.
    refused(s.uplink, ("7.7.7.7", "10.1.0.20"), &quoted(&s));
    // About the other direction.
    refused(s.uplink, ("7.7.7.7", "10.1.0.10"), &answer_in(&s));
    // About another flow.
    refused(
        s.uplink,
        ("7.7.7.7", "10.1.0.10"),
        &s.routed(s.a).ip("10.1.0.10", "8.8.8.8").udp(1001, 53),
    );
    // From a port that is no part of the flow.
    refused(s.c, ("10.2.0.10", "10.1.0.10"), &quoted(&s));
    refused(s.free, ("8.8.8.8", "10.1.0.10"), &quoted(&s));
    // From a line.
    refused(s.line_a, ("100.64.0.10", "10.1.0.10"), &quoted(&s));
    // About a later fragment.
    refused(s.uplink, ("7.7.7.7", "10.1.0.10"), &quoted(&s).fragment(8, false));
    // About another error.
    let nested = error(&s, s.a, ("10.1.0.10", "8.8.8.8"), 3, &answer_in(&s));
    refused(s.uplink, ("7.7.7.7", "10.1.0.10"), &nested);
}

#[test]
fn a_neighbour_cannot_forge_an_error_within_the_network() {
    let s = Site::new();
    s.passes(s.a, &question(&s), s.b);
    let forged =
        error(&s, s.free, ("10.1.0.20", "10.1.0.10"), 3, &question(&s)).eth(s.free.mac, s.a.mac);
    s.stops(s.free, &forged, Stop::IcmpUnrelated);
}

#[test]
fn an_error_from_outside_has_no_source_inside() {
    let s = Site::new();
    s.passes(s.a, &question_out(&s), s.uplink);
    for src in ["10.1.0.20", "10.66.0.10", "100.64.0.10", "198.51.100.2"] {
        let forged = error(&s, s.uplink, (src, "10.1.0.10"), 11, &quoted(&s));
        s.stops(s.uplink, &forged, Stop::ReversePath);
    }
}

#[test]
fn an_error_from_outside_has_no_source_that_nothing_has() {
    let mut s = Site::new();
    s.passes(s.a, &question_out(&s), s.uplink);
    let refused = |from: End, src: &str, stop| {
        s.stops(from, &error(&s, from, (src, "10.1.0.10"), 11, &quoted(&s)), stop);
    };
    // A router that tenants cannot reach tells them the path's MTU nevertheless.
    s.passes(s.uplink, &error(&s, s.uplink, ("192.0.2.7", "10.1.0.10"), 11, &quoted(&s)), s.a);
    refused(s.uplink, "169.254.0.9", Stop::DestinationUnroutable);
    refused(s.uplink, "240.0.0.9", Stop::MartianSource);
    let syn = s.routed(s.a).ip("2001:db8:1::10", "2001:db8:99::1").tcp(1000, 80, SYN, 5, 0);
    s.passes(s.a, &syn, s.uplink);
    let too_big = s.routed(s.uplink).ip("fe80::7", "2001:db8:1::10").icmp(2, 0, [0, 0, 5, 0]);
    s.stops(s.uplink, &too_big.payload(&syn.packet()), Stop::DestinationUnroutable);

    // What the router has inside, and exports to another uplink alone.
    let hop = s.far.hop as usize;
    s.change(|w| w.image.next_hops[hop].state = state::READY);
    let dns = s.routed(s.a).ip("10.1.0.10", "203.0.113.5").udp(1000, 53);
    s.passes(s.a, &dns, s.far);
    for (src, stop) in [("10.2.0.77", Stop::ReversePath), ("100.64.0.99", Stop::ReversePath)] {
        s.stops(s.far, &error(&s, s.far, (src, "10.1.0.10"), 11, &dns), stop);
    }
    // It need not lie where a's own packets go: there they would leave by the other uplink.
    s.passes(s.far, &error(&s, s.far, ("7.7.7.7", "10.1.0.10"), 11, &dns), s.a);
}

#[test]
fn an_error_spoofed_by_a_port_is_refused() {
    let s = Site::new();
    s.passes(s.a, &question_out(&s), s.uplink);
    s.passes(s.uplink, &answer_in(&s), s.a);
    let spoofed = error(&s, s.a, ("10.1.0.1", "8.8.8.8"), 3, &answer_in(&s));
    s.stops(s.a, &spoofed, Stop::SpoofedAddress);
}

#[test]
fn an_error_is_cut_with_its_flow() {
    let mut s = Site::new();
    s.passes(s.a, &question_out(&s), s.uplink);
    let (client, blue) = (s.client, s.blue);
    s.change(|w| w.touch_policy(client, blue).egress_count = 0);
    let related = error(&s, s.uplink, ("7.7.7.7", "10.1.0.10"), 11, &quoted(&s));
    s.stops(s.uplink, &related, Stop::EgressDenied);
}

#[test]
fn an_error_does_not_keep_a_flow_alive() {
    let s = Site::new();
    s.passes(s.a, &question_out(&s), s.uplink);
    let related = error(&s, s.uplink, ("7.7.7.7", "10.1.0.10"), 11, &quoted(&s));
    let second = std::time::Duration::from_secs(1);
    s.tables.pass(20 * second);
    s.passes(s.uplink, &related, s.a);
    s.tables.pass(20 * second);
    s.stops(s.uplink, &related, Stop::IcmpUnrelated);
}

/// What a sends to a line, as a router behind our next hop on the access has it.
fn quoted_to_line(s: &Site) -> Frame {
    s.routed(s.a).ip("10.1.0.10", "100.64.0.10").udp(1000, 7).ttl(61)
}

#[test]
fn a_router_of_the_mobile_network_may_speak_about_a_lines_flow() {
    let s = Site::new();
    let about = quoted_to_line(&s);
    for router in ["100.127.0.9", "9.9.9.9", "198.18.7.7"] {
        let related = error(&s, s.access, (router, "10.1.0.10"), 3, &about);
        s.stops(s.access, &related, Stop::NoSession);
    }
    s.passes(s.a, &about, s.access);
    for router in ["100.127.0.9", "9.9.9.9", "198.18.7.7"] {
        arrives(&s, s.access, &error(&s, s.access, (router, "10.1.0.10"), 3, &about));
    }
    // The line itself, too.
    s.passes(s.line_a, &error(&s, s.line_a, ("100.64.0.10", "10.1.0.10"), 3, &about), s.a);
}

#[test]
fn a_router_of_the_mobile_network_speaks_in_both_families_and_about_answers() {
    let s = Site::new();
    let syn = s.routed(s.line_a).ip("2001:db8:64:1::5", "2001:db8:2::10").tcp(1000, 80, SYN, 5, 0);
    let answer = s.routed(s.c).ip("2001:db8:2::10", "2001:db8:64:1::5").tcp(80, 1000, 18, 9, 6);
    let too_big = s.routed(s.access).ip("2001:db8:7f::9", "2001:db8:2::10");
    let too_big = too_big.icmp(2, 0, [0, 0, 5, 0]).payload(&answer.packet());
    s.stops(s.access, &too_big, Stop::NoSession);
    s.passes(s.line_a, &syn, s.c);
    s.passes(s.c, &answer, s.access);
    s.passes(s.access, &too_big, s.c);
    // About what a line that is attached to an uplink is sent from there.
    let dns = s.routed(s.line_up).ip("100.65.0.10", "8.8.8.8").udp(1000, 53);
    let answer = s.routed(s.uplink).ip("8.8.8.8", "100.65.0.10").udp(53, 1000);
    s.passes(s.line_up, &dns, s.uplink);
    s.passes(s.uplink, &answer, s.access);
    s.passes(s.access, &error(&s, s.access, ("9.9.9.9", "8.8.8.8"), 3, &answer), s.uplink);
}

#[test]
fn nothing_else_comes_from_where_there_is_no_session() {
    let mut s = Site::new();
    let about = quoted_to_line(&s);
    s.passes(s.a, &about, s.access);
    let router = "100.127.0.9";
    let refused = |frame: Frame, stop| s.stops(s.access, &frame, stop);
    // No error, or about another flow, or a later piece of an error.
    let plain = || s.routed(s.access).ip(router, "10.1.0.10");
    refused(plain().udp(7, 1000), Stop::NoSession);
    refused(plain().icmp(8, 0, [0, 1, 0, 1]), Stop::NoSession);
    let other = s.routed(s.a).ip("10.1.0.10", "100.64.0.10").udp(1001, 7);
    refused(error(&s, s.access, (router, "10.1.0.10"), 3, &other), Stop::NoSession);
    let nobody = s.routed(s.a).ip("10.1.0.10", "100.64.0.99").udp(1000, 7);
    refused(error(&s, s.access, (router, "10.1.0.10"), 3, &nobody), Stop::NoSession);
    let whole = error(&s, s.access, (router, "10.1.0.10"), 3, &about);
    refused(whole.clone().fragment(8, false), Stop::NoSession);
    // To somebody else than the quoted packet's sender, or about what its flow's line sends.
    refused(error(&s, s.access, (router, "10.1.0.20"), 3, &about), Stop::IcmpUnrelated);
    let answer = s.routed(s.line_a).ip("100.64.0.10", "10.1.0.10").udp(7, 1000);
    refused(error(&s, s.access, (router, "100.64.0.10"), 3, &answer), Stop::NoSession);
    // With an address of ours, of a host inside, of a line, or of no router at all.
    for src in ["10.1.0.20", "10.2.0.77", "10.1.0.1", "100.64.0.99"] {
        refused(error(&s, s.access, (src, "10.1.0.10"), 3, &about), Stop::ReversePath);
    }
    refused(
        error(&s, s.access, ("169.254.1.1", "10.1.0.10"), 3, &about),
        Stop::DestinationUnroutable,
    );
    refused(error(&s, s.access, ("127.0.0.1", "10.1.0.10"), 3, &about), Stop::MartianSource);
    // From another line.
    refused(error(&s, s.access, ("100.64.0.13", "10.1.0.10"), 3, &about), Stop::IcmpUnrelated);
    // Once the line is suspended.
    let line = s.line_a.id;
    s.change(|w| w.touch_endpoint(line).flags |= SUSPENDED);
    s.stops(s.access, &whole, Stop::LineSuspended);
}

#[test]
fn routers_of_the_mobile_network_speak_where_no_host_shares_the_link() {
    let mut s = Site::new();
    let access = s.access;
    s.change(|w| w.image.attachments.values_mut().for_each(|at| at.host = 0));
    let about = quoted_to_line(&s);
    let related = error(&s, access, ("100.127.0.9", "10.1.0.10"), 11, &about);
    s.stops(access, &related, Stop::NoSession);
    s.passes(s.a, &about, access);
    s.passes(access, &related, s.a);
}
