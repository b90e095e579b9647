//! What holds of whatever arrives, at either hook?
//!
//! Nothing panics, every packet has one end and one counter, what leaves is well-formed if
//! what came was, and no tenant's packet reaches another's port.

use std::time::Duration;

use dataplane_common::{Packet, table::AttachmentKey, tables::Counter};
use dataplane_user::tables::Image;

use crate::{
    build::Frame,
    check,
    drive::{self, End as Ended, Outcome},
    packet::{Hook, HostPacket},
    world::{End, Site},
};

/// How a packet lies at its hook.
#[derive(Clone, Debug)]
pub struct Lie {
    /// Where it is seen.
    pub hook: Hook,
    /// So many bytes can be read before somebody asks for more.
    pub linear: usize,
    /// Its checksum is left to a device.
    pub is_partial: bool,
    /// It stands for several segments: payload of each, and how many.
    pub segments: Option<(u32, u32)>,
    /// The kernel refuses to change its size or tag.
    pub refuses: bool,
}

/// Larger than a link takes in one packet.
const LARGE_BYTES: usize = 1400;

/// Sends the frame on the test site; answers what does not hold.
pub fn judge(site: &Site, from: End, frame: &[u8], lie: &Lie) -> Result<(), String> {
    let mut packet = HostPacket::new(lie.hook, from.ifindex, frame).linear(lie.linear);
    if lie.is_partial {
        packet = packet.partial();
    }
    // Only TCP and UDP are segmented, and only what is larger than a link takes.
    let is_large = frame.len() > LARGE_BYTES && check::transport_checksum(frame).is_some();
    if let Some((bytes, count)) = lie.segments.filter(|_| is_large) {
        packet = packet.segments_of(bytes, count);
    }
    if lie.refuses {
        packet = packet.refusing();
    }
    let segments = packet.segments();
    // Time goes by, so that errors are not silenced by their rate.
    site.tables.pass(Duration::from_millis(20));
    let outcome = drive::run(&site.tables, packet);
    one_end(&outcome, segments)?;
    stays_well_formed(frame, &outcome)?;
    if let Ended::Left { output, .. } = outcome.end {
        borders(&site.world.image, (from.ifindex, check::vlans(frame)), output)?;
        if from.ifindex == site.mec.ifindex && output == site.uplink.attachment {
            return Err("a closed network reaches the uplink".into());
        }
    }
    let at = AttachmentKey { ifindex: from.ifindex, vlan: check::vlans(frame) };
    let own = site.world.image.attachments.get(&at);
    if outcome.end == Ended::Passed && own.is_none_or(|own| own.host == 0) {
        return Err(format!("{from:?} reaches a host that shares nothing with it"));
    }
    if let Ended::Flooded(copies) = &outcome.end {
        for (ifindex, frame) in copies {
            let at = AttachmentKey { ifindex: *ifindex, vlan: check::vlans(frame) };
            let to =
                site.world.image.attachments.get(&at).ok_or("a copy leaves by nobody's link")?;
            if own.is_none_or(|own| own.id == to.id || own.zone != to.zone) {
                return Err(format!("a copy of {from:?} goes to {to:?}"));
            }
        }
    }
    Ok(())
}

/// One end, and the one counter that goes with it.
pub fn one_end(outcome: &Outcome, segments: u32) -> Result<(), String> {
    let of = |counter: Counter| {
        let counts = outcome.counters.counts.iter();
        let counts = counts.filter(|((_, of), _)| *of == counter as u8);
        counts.map(|(_, tally)| tally.packets).sum::<u64>()
    };
    let stops: u64 = outcome.counters.stops.values().sum();
    let ends = [
        Counter::Sent,
        Counter::Answered,
        Counter::Reported,
        Counter::Heard,
        Counter::Flooded,
        Counter::Copied,
        Counter::Parked,
        Counter::Passed,
    ];
    let ends = ends.map(of);
    let counted = (ends, stops);
    let segments = u64::from(segments);
    let is_one = match outcome.end {
        Ended::Left { .. } => {
            let told = ([0, 0, 1, 0, 0, 0, 0, 0], segments);
            let sent = [segments, 0, 0, 0, 0, 0, 0, 0];
            [(sent, 0), ([0, 1, 0, 0, 0, 0, 0, 0], 0), told].contains(&counted)
        }
        Ended::Flooded(ref copies) => {
            let copied = segments * copies.len() as u64;
            !copies.is_empty() && counted == ([0, 0, 0, 0, segments, copied, 0, 0], 0)
        }
        Ended::Heard => counted == ([0, 0, 0, 1, 0, 0, 0, 0], 0),
        Ended::Parked => counted == ([0, 0, 0, 0, 0, 0, 1, 0], 0),
        Ended::Passed => counted == ([0, 0, 0, 0, 0, 0, 0, segments], 0),
        Ended::Stopped(stop) => {
            let is_named = outcome.counters.stops.keys().all(|(_, counted)| *counted == stop);
            counted == ([0; 8], segments) && is_named
        }
    };
    if is_one { Ok(()) } else { Err(format!("{:?} was counted {:?}", outcome.end, counted)) }
}

/// What leaves is well-formed if what came was.
pub fn stays_well_formed(frame: &[u8], outcome: &Outcome) -> Result<(), String> {
    match &outcome.end {
        Ended::Left { frame: left, .. } if check::well_formed(frame).is_ok() => {
            check::well_formed(left).map_err(|why| format!("{why}: {left:02x?}"))
        }
        Ended::Flooded(copies) if check::well_formed(frame).is_ok() => {
            let mut copies = copies.iter().map(|(_, copy)| check::well_formed(copy));
            copies.try_for_each(|copy| copy)
        }
        Ended::Left { .. }
        | Ended::Flooded(_)
        | Ended::Heard
        | Ended::Parked
        | Ended::Passed
        | Ended::Stopped(_) => Ok(()),
    }
}

/// Nothing goes from one tenant's interface and VLANs to another's.
pub fn borders(image: &Image, from: (u32, u32), output: u32) -> Result<(), String> {
    let attachments = || image.attachments.iter();
    let from = AttachmentKey { ifindex: from.0, vlan: from.1 };
    let from = image.attachments.get(&from).map_or(0, |of| of.tenant);
    let to = attachments().find(|(_, of)| of.id == output).map_or(0, |(_, of)| of.tenant);
    if from == 0 || to == 0 || from == to {
        return Ok(());
    }
    Err(format!("from tenant {from} to tenant {to}"))
}

/// Whoever sends on the test site.
#[must_use]
pub fn ends(s: &Site) -> Vec<End> {
    vec![s.a, s.b, s.c, s.free, s.pair, s.trunk, s.stateless, s.mec, s.red_a, s.red_c, s.lonely]
        .into_iter()
        .chain([s.uplink, s.far, s.access, s.twin, s.red_twin, s.metro])
        .collect()
}

/// A packet of every kind that passes, is answered, or is told about.
#[must_use]
pub fn frames(s: &Site) -> Vec<(End, Frame)> {
    let id = [0, 1, 0, 1];
    let quoted = s.routed(s.a).ip("10.1.0.10", "8.8.8.8").udp(1, 53).packet();
    let v4 = |from: End, src, dst| s.routed(from).ip(src, dst);
    let pad = [0, 1, 4, 0, 0, 0, 0];
    vec![
        (s.a, s.switched(s.a, s.free).ip("10.1.0.10", "10.1.0.30").udp(1, 2)),
        (s.a, s.switched(s.a, s.trunk).ip("10.1.0.10", "10.1.0.50").udp(1, 53)),
        (s.trunk, s.switched(s.trunk, s.b).ip("10.1.0.50", "10.1.0.20").udp(1, 53)),
        (s.twin, s.switched(s.twin, s.b).ip("10.1.0.70", "10.1.0.20").udp(1, 53)),
        (s.twin, v4(s.twin, "10.1.0.70", "12.0.0.1").udp(1, 53)),
        (s.metro, v4(s.metro, "12.0.0.1", "10.1.0.50").udp(1, 53)),
        (s.a, v4(s.a, "10.1.0.10", "10.2.0.10").udp(1, 53)),
        (s.a, v4(s.a, "10.1.0.10", "10.2.0.10").whole().tcp(1, 80, 2, 0, 0).tcp_options(&[1; 12])),
        (s.a, v4(s.a, "10.1.0.10", "10.2.0.10").options(&[148, 4, 0, 0]).icmp(8, 0, id)),
        (s.a, v4(s.a, "10.1.0.10", "10.1.0.1").icmp(8, 0, id)),
        (s.a, v4(s.a, "10.1.0.10", "10.2.0.77").udp(1, 53)),
        (s.a, v4(s.a, "10.1.0.10", "8.8.8.8").udp(1, 53)),
        (s.mec, v4(s.mec, "10.9.0.10", "8.8.8.8").udp(1, 53)),
        (s.uplink, v4(s.uplink, "8.8.8.8", "10.1.0.10").udp(53, 1)),
        (s.uplink, v4(s.uplink, "7.7.7.7", "10.1.0.10").icmp(11, 0, [0; 4]).payload(&quoted)),
        (s.uplink, v4(s.uplink, "8.8.8.8", "10.2.0.77").tcp(1, 80, 2, 0, 0)),
        (s.uplink, v4(s.uplink, "8.8.8.8", "198.51.100.5").tcp(1, 22, 2, 0, 0)),
        (s.uplink, v4(s.uplink, "2001:db8:99::1", "2001:db8:ff::5").icmp(128, 0, id)),
        (
            s.uplink,
            s.frame(s.uplink, [0xff; 6]).arp(
                1,
                (s.uplink.mac, "198.51.100.1"),
                ([0; 6], "198.51.100.5"),
            ),
        ),
        (s.access, v4(s.access, "100.127.0.9", "100.127.0.5").udp(1, 53)),
        (s.access, v4(s.access, "100.64.0.10", "10.1.0.20").udp(1, 53)),
        (s.access, v4(s.access, "100.64.0.10", "100.64.0.13").udp(1, 53)),
        (s.red_a, v4(s.red_a, "10.1.0.10", "8.8.8.8").udp(1, 53)),
        (s.red_a, s.switched(s.red_a, s.red_b).ip("10.1.0.10", "10.1.0.20").tcp(1, 80, 2, 0, 0)),
        (s.stateless, v4(s.stateless, "10.1.0.60", "8.8.8.8").udp(1, 53)),
        (s.a, v4(s.a, "2001:db8:1::10", "2001:db8:2::10").udp(1, 53)),
        (
            s.a,
            v4(s.a, "2001:db8:1::10", "2001:db8:2::10")
                .extension(0, &pad)
                .extension(60, &pad)
                .udp(1, 53),
        ),
        (
            s.a,
            v4(s.a, "2001:db8:1::10", "2001:db8:2::77").fragment_v6(0, false).tcp(1, 80, 2, 0, 0),
        ),
        (s.a, v4(s.a, "2001:db8:1::10", "2001:db8:1::1").icmp(128, 0, id)),
        (s.a, s.frame(s.a, [0xff; 6]).ip("10.1.0.10", "255.255.255.255").udp(1, 53)),
        (
            s.trunk,
            s.frame(s.trunk, [1, 0, 0x5e, 1, 2, 3]).ip("10.1.0.50", "239.129.2.3").udp(1, 53),
        ),
        (
            s.a,
            s.frame(s.a, [0x33, 0x33, 0, 0, 0, 0xfb]).ip("2001:db8:1::10", "ff02::fb").udp(1, 53),
        ),
        (s.a, s.frame(s.a, [0xff; 6]).arp(1, (s.a.mac, "10.1.0.10"), ([0; 6], "10.1.0.1"))),
        (
            s.a,
            s.frame(s.a, [0x33, 0x33, 0xff, 0, 0, 1])
                .ip("2001:db8:1::10", "ff02::1:ff00:1")
                .neighbour(135, 0, "2001:db8:1::1", Some((1, s.a.mac))),
        ),
    ]
}
