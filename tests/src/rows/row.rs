//! A row of the packet table, and how it is judged.

use crate::{
    build::Frame,
    check,
    drive::{self, End as Ended},
    packet::{Hook, HostPacket},
    world::{End, Sent, Site},
};
use dataplane_common::{
    Packet, Stop,
    tables::{Counter, Tally},
};
use dataplane_user::tables::host::Counters;

/// A packet and what is expected of it.
#[derive(Clone)]
pub struct Row {
    /// The behaviour.
    pub name: &'static str,
    from: End,
    frame: Frame,
    change: fn(&mut Site),
    prepare: fn(HostPacket) -> HostPacket,
    variants: &'static [Variant],
    is_received: bool,
    expect: Expect,
}

#[derive(Clone)]
enum Expect {
    Nothing,
    Sent(End, Frame),
    Answered(Frame),
    Heard,
    Flooded(Vec<(End, Frame)>),
    Parked,
    Passed,
    Stopped(u32, Stop),
    Told(u32, Stop, Frame),
}

/// How the packet lies at the hook.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Variant {
    Xdp,
    Short,
    Partial,
}

const ALL: &[Variant] = &[Variant::Xdp, Variant::Short, Variant::Partial];

/// A row without an expectation.
pub fn row(name: &'static str, from: End, frame: Frame) -> Row {
    Row {
        name,
        from,
        frame,
        change: |_| {},
        prepare: |packet| packet,
        variants: ALL,
        is_received: true,
        expect: Expect::Nothing,
    }
}

impl Row {
    /// It leaves like this.
    pub fn sent(mut self, to: End, frame: Frame) -> Self {
        self.expect = Expect::Sent(to, frame);
        self
    }

    /// It leaves as it came, but for the tag.
    pub fn switched(self, to: End) -> Self {
        let frame = self.frame.clone().untagged();
        self.sent(to, frame.vlans(to.vlan))
    }

    /// It leaves with the next hop's MACs and one hop less.
    pub fn routed(self, site: &Site, to: End) -> Self {
        let frame = site.forwarded(&self.frame, 63, to);
        self.sent(to, frame)
    }

    /// This goes back.
    pub fn answered(mut self, frame: Frame) -> Self {
        self.expect = Expect::Answered(frame);
        self
    }

    /// The daemon gets it.
    pub fn heard(mut self) -> Self {
        self.expect = Expect::Heard;
        self
    }

    /// Copies leave for these ends, and no others; but for the tag they are as it came.
    pub fn flooded(mut self, to: &[End]) -> Self {
        let copy = |to: &End| {
            let frame = self.frame.clone().untagged();
            (*to, frame.vlans(to.vlan))
        };
        self.expect = Expect::Flooded(to.iter().map(copy).collect());
        self
    }

    /// The daemon keeps it until its first fragment comes.
    pub fn parked(mut self) -> Self {
        self.expect = Expect::Parked;
        self
    }

    /// The host gets it as it came.
    pub fn passed(mut self) -> Self {
        self.expect = Expect::Passed;
        self
    }

    /// It stops, counted under this tenant.
    pub fn stopped(mut self, tenant: u32, stop: Stop) -> Self {
        self.expect = Expect::Stopped(tenant, stop);
        self
    }

    /// It stops, and this goes back.
    pub fn told(mut self, tenant: u32, stop: Stop, frame: Frame) -> Self {
        self.expect = Expect::Told(tenant, stop, frame);
        self
    }

    /// The site is another, or something happened before.
    pub fn after(mut self, change: fn(&mut Site)) -> Self {
        self.change = change;
        self
    }

    /// The packet is special.
    pub fn with(mut self, prepare: fn(HostPacket) -> HostPacket) -> Self {
        self.prepare = prepare;
        self
    }

    /// Only tcx can have such a packet.
    pub fn at_tc(mut self) -> Self {
        self.variants = &[Variant::Short, Variant::Partial];
        self
    }

    /// It comes in at XDP.
    pub fn at_xdp(mut self) -> Self {
        self.variants = &[Variant::Xdp];
        self
    }

    /// It belongs to no attachment, so nobody received it.
    pub fn unseen(mut self) -> Self {
        self.is_received = false;
        self
    }

    /// The reason that the row is about.
    pub fn stop(&self) -> Option<Stop> {
        match self.expect {
            Expect::Stopped(_, stop) | Expect::Told(_, stop, _) => Some(stop),
            Expect::Nothing
            | Expect::Sent(..)
            | Expect::Answered(_)
            | Expect::Heard
            | Expect::Flooded(_)
            | Expect::Parked
            | Expect::Passed => None,
        }
    }

    /// The site as the row finds it, and what happened on it before.
    #[must_use]
    pub fn site(&self) -> Site {
        let mut site = Site::new();
        (self.change)(&mut site);
        site
    }

    /// The packet as it comes in at this hook.
    #[must_use]
    pub fn sent_frame(&self) -> Sent {
        let tc = HostPacket::new(Hook::Tc, self.from.ifindex, &self.frame.build());
        let segment_bytes = (self.prepare)(tc.clone()).segment_bytes();
        Sent {
            hook: Hook::Tc,
            ifindex: self.from.ifindex,
            frame: self.frame.build(),
            segment_bytes,
        }
    }

    /// The hooks that the packet can come in at.
    #[must_use]
    pub fn hooks(&self) -> &'static [Hook] {
        match self.variants {
            [Variant::Xdp] => &[Hook::Xdp],
            variants if variants.contains(&Variant::Xdp) => &[Hook::Xdp, Hook::Tc],
            _ => &[Hook::Tc],
        }
    }

    /// What is wrong.
    #[must_use]
    pub fn judge(&self) -> Vec<String> {
        let wrong = |variant: &Variant| {
            self.run(*variant).err().map(|why| format!("{}, {variant:?}: {why}", self.name))
        };
        self.variants.iter().filter_map(wrong).collect()
    }

    /// What the segments after the first have besides, as this frame at tcx: of two tags the
    /// inner one is in the frame.
    fn more_headers(&self, segments: u32, frame: &[u8]) -> u32 {
        let each = if segments > 1 { check::header_bytes(&self.frame.build()) } else { None };
        let inner_bytes = if check::vlans(frame) >> 16 != 0 { 4 } else { 0 };
        (segments - 1) * each.map_or(0, |bytes| bytes + inner_bytes)
    }

    fn run(&self, variant: Variant) -> Result<(), String> {
        let site = self.site();
        let hook = if variant == Variant::Xdp { Hook::Xdp } else { Hook::Tc };
        let packet = HostPacket::new(hook, self.from.ifindex, &self.frame.build());
        let packet = match variant {
            Variant::Partial => packet.partial(),
            Variant::Short => packet.linear(14),
            Variant::Xdp => packet,
        };
        let packet = (self.prepare)(packet);
        let mut expected = Counters::default();
        if self.is_received {
            let bytes = packet.bytes() + self.more_headers(packet.segments(), &packet.wire());
            count(&mut expected, self.from, Counter::Received, packet.segments(), bytes);
        }
        let (segments, bytes) = (packet.segments(), packet.bytes());
        let sent = packet.wire();
        let outcome = drive::run(&site.tables, packet);

        let (stop, out) = match &self.expect {
            Expect::Nothing => return Err("the row expects nothing".into()),
            Expect::Sent(to, frame) => (None, Some((to, Counter::Sent, frame, segments))),
            Expect::Answered(frame) => (None, Some((&self.from, Counter::Answered, frame, 1))),
            Expect::Heard => {
                count(&mut expected, self.from, Counter::Heard, 1, bytes);
                if outcome.end != Ended::Heard {
                    return Err(format!("{:?}", outcome.end));
                }
                (None, None)
            }
            Expect::Flooded(copies) => {
                let all = bytes + self.more_headers(segments, &sent);
                count(&mut expected, self.from, Counter::Flooded, segments, all);
                for (to, frame) in copies {
                    let copy = frame.build();
                    let bytes = laid_out_bytes(&copy, hook);
                    let all = bytes + self.more_headers(segments, &copy);
                    count(&mut expected, *to, Counter::Copied, segments, all);
                }
                let copies: Vec<_> =
                    copies.iter().map(|(to, frame)| (to.ifindex, frame.build())).collect();
                if outcome.end != Ended::Flooded(copies) {
                    return Err(format!("{:?}", outcome.end));
                }
                (None, None)
            }
            Expect::Parked => {
                count(&mut expected, self.from, Counter::Parked, 1, bytes);
                if outcome.end != Ended::Parked {
                    return Err(format!("{:?}", outcome.end));
                }
                (None, None)
            }
            Expect::Passed => {
                let bytes = bytes + self.more_headers(segments, &sent);
                count(&mut expected, self.from, Counter::Passed, segments, bytes);
                if outcome.end != Ended::Passed {
                    return Err(format!("{:?}", outcome.end));
                }
                (None, None)
            }
            Expect::Stopped(tenant, stop) => (Some((*tenant, *stop)), None),
            Expect::Told(tenant, stop, frame) => {
                (Some((*tenant, *stop)), Some((&self.from, Counter::Reported, frame, 1)))
            }
        };
        if let Some(stop) = stop {
            expected.stops.insert(stop, segments.into());
        }
        if let Some((to, counter, frame, packets)) = out {
            let mut wire = frame.build();
            let bytes = laid_out_bytes(&wire, hook);
            count(&mut expected, *to, counter, packets, bytes + self.more_headers(packets, &wire));
            let Ended::Left { output, frame: mut left, .. } = outcome.end else {
                return Err(format!("{:?}", outcome.end));
            };
            let was_well_formed = check::well_formed(&self.frame.build()).is_ok();
            if was_well_formed || counter != Counter::Sent {
                check::well_formed(&left)?;
            }
            if counter == Counter::Reported && hook == Hook::Tc {
                forget_quoted_checksum(&mut left);
                forget_quoted_checksum(&mut wire);
            }
            if left != wire || output != to.attachment {
                let at = left.iter().zip(&wire).position(|(one, other)| one != other);
                let (left_bytes, wire_bytes) = (left.len(), wire.len());
                return Err(format!(
                    "left by {output}, {left_bytes} bytes, not by {}, {wire_bytes}; \
                     differs at {at:?}\n  {left:02x?}\n  {wire:02x?}",
                    to.attachment
                ));
            }
        } else if let Some((_, stop)) = stop
            && outcome.end != Ended::Stopped(stop)
        {
            return Err(format!("{:?}", outcome.end));
        }
        if outcome.counters != expected {
            return Err(format!("counted {:?}\n  not {expected:?}", outcome.counters));
        }
        Ok(())
    }
}

/// Bytes of the frame as it lies before the program: at tcx without its outer tag.
fn laid_out_bytes(wire: &[u8], hook: Hook) -> u32 {
    let has_tag_beside = hook == Hook::Tc && check::vlans(wire) != 0;
    wire.len() as u32 - if has_tag_beside { 4 } else { 0 }
}

fn count(counters: &mut Counters, at: End, counter: Counter, packets: u32, bytes: u32) {
    let tally = Tally { packets: packets.into(), bytes: bytes.into() };
    counters.counts.insert((at.attachment, counter as u8), tally);
}

/// At tcx the quoted checksum is set so that a device that completes it changes
/// nothing; that, and with it the error's own checksum, the validator has judged.
fn forget_quoted_checksum(frame: &mut [u8]) {
    let l3 = check::l3(frame);
    let (error, header) = if frame[l3] >> 4 == 4 { (l3 + 20, 20) } else { (l3 + 40, 40) };
    let quoted = error + 8;
    let (protocol, l4) = if header == 20 {
        (frame[quoted + 9], quoted + usize::from(frame[quoted] & 15) * 4)
    } else {
        (frame[quoted + 6], quoted + 40)
    };
    let field = match protocol {
        6 => l4 + 16,
        17 => l4 + 6,
        _ => return,
    };
    for at in [error + 2, field] {
        frame[at..at + 2].fill(0);
    }
}
