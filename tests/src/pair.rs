//! Do host and kernel agree?
//!
//! A [`Pair`] is the host's tables and a loaded dataplane with the same images, the
//! same flow table and the same secret. Each packet goes through both; what is compared:
//! verdict, the frame that leaves, the decision in XDP's metadata, and on demand all
//! counters and every flow record.
//!
//! Made comparable: time stands still on the host, and in the kernel everything counts
//! as seen just now, often enough; the rate of ICMP errors is [`refilled`](Pair::refill)
//! before it is used up, or used up on both sides ([`Pair::silence`]).
//! Not comparable: what the kernel does behind the verdict (the device that a redirect
//! at tcx names, and a tag beside the frame, are not in the answer of
//! BPF_PROG_TEST_RUN; counters of the output and the trace's note tell them), partial
//! checksums, a short linear part, and refusals of a helper, which it cannot make.

pub mod rows;

mod table;
mod watched;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use dataplane_common::{
    Packet, Stop, Tables, limits,
    table::{
        meter::STEPS_PER_NS,
        next_hop::{Output, output_kind},
    },
    tables::{Counter, Note, Share, Tally, note},
    word::Word64,
    work::{flags, job},
};
use dataplane_user::{
    load::{Barrier, Dataplane, Hooked, LogLevel, Options, Place, Sizes, TestFrame, Verdict},
    tables::{HostTables, Image, host::Counters},
};

pub use self::watched::Watched;
use nix::time::{ClockId, clock_gettime};

use crate::{
    Lab,
    drive::{self, Passed},
    packet::{Hook, HostPacket},
    sys::Map,
    world::{Sent, Site},
};

/// Host and kernel, side by side.
pub struct Pair {
    host: HostTables,
    kernel: Dataplane,
    reports: Map,
    copies: Map,
    claims: Map,
    heard_at: Map,
    /// Errors made since the last refill.
    reported: u32,
    /// Copies asked for since then.
    copied: u32,
    /// Addresses that were told of since then.
    claimed: u32,
    counted: Counters,
    /// As many as any image had.
    attachments: u32,
    forgotten_rule: Option<u32>,
    touched: Instant,
}

/// How a packet ended, on both sides.
pub struct Agreed {
    /// The host's journey.
    pub passed: Passed,
    /// What was decided on it.
    pub notes: Vec<Note>,
}

/// What waits.
const PARKED: [Share; 2] = [Share::Parked, Share::InboundParked];
/// Tenants whose rate of errors is looked after.
const TENANTS: u32 = 8;
/// Fewer than may be made at once.
const REPORTS_MAX: u32 = 30;
/// As many copies may be asked for in any case: half of those at once.
const COPIES_MAX: u32 = limits::COPIES_BURST / 2;
/// As many claims may be made in any case.
const CLAIMS_MAX: u32 = limits::CLAIMS_BURST / 2;
/// More than a network of the site has ports.
const COPIES_EACH: u32 = 16;
/// Longer than it takes until as many errors, copies and claims as possible may be made again.
const REFILL: Duration = Duration::from_secs(11);
/// Datagrams that are done count for a tenth of a second in the kernel, whose time goes on.
const TOUCH_EVERY: Duration = Duration::from_millis(10);
/// So far ahead are meters that are closed: a day and a half.
const CLOSED_STEPS: u64 = 1 << 55;
/// Verdicts (linux/bpf.h, linux/pkt_cls.h).
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const XDP_REDIRECT: u32 = 4;
const TC_OK: u32 = 0;
const TC_SHOT: u32 = 2;
const TC_REDIRECT: u32 = 7;
/// The word that marks a decision as ours, but for the output's kind.
const DELIVERY_MARK: u32 = 0x5e_c1_50_00;

impl Pair {
    /// Loads the programs in this place, with interfaces of these numbers. Runs on a
    /// thread inside the lab's namespace, where numbers mean interfaces.
    pub fn new(place: Place, image: &Image, flow_lines: u32, ifindexes: &[u32]) -> Result<Self> {
        let kernel = Dataplane::load(&Options {
            place: place.clone(),
            sizes: Sizes { flow_lines, ..Sizes::default() },
            log: LogLevel::Off,
            barrier: Barrier::Any,
        })?;
        let host = HostTables::new(image.clone(), flow_lines).with_secret(kernel.flow_secret());
        let reports = Map::open(&place.map("REPORTS"), size_of::<u64>())?;
        let copies = Map::open(&place.map("COPIES"), size_of::<u64>())?;
        let claims = Map::open(&place.map("CLAIMS"), size_of::<u64>())?;
        let heard_at = Map::open(&place.map("HEARD_AT"), size_of::<u64>())?;
        let nics = Map::open(&place.map("NICS"), size_of::<[u32; 2]>())?;
        for &ifindex in ifindexes {
            // `struct bpf_devmap_val`: the interface, and no program for it.
            let value = [ifindex.to_ne_bytes(), [0; 4]].concat();
            nics.set(ifindex, &value).context("entering an interface")?;
        }
        let counted = Counters::default();
        let mut pair = Self {
            host,
            kernel,
            reports,
            copies,
            claims,
            heard_at,
            reported: 0,
            copied: 0,
            claimed: 0,
            counted,
            attachments: 0,
            forgotten_rule: None,
            touched: Instant::now(),
        };
        pair.install(image)?;
        Ok(pair)
    }

    /// From now on the host knows nothing of this rule: a control.
    pub fn forget_rule(&mut self, rule: u32) {
        self.forgotten_rule = Some(rule);
    }

    /// The host's tables.
    #[must_use]
    pub const fn host(&self) -> &HostTables {
        &self.host
    }

    /// The version in force, on both sides.
    pub fn install(&mut self, image: &Image) -> Result<()> {
        self.kernel.install(image)?;
        self.attachments = self.attachments.max(image.outputs.len() as u32);
        self.host.replace(image.clone());
        self.close(image);
        Ok(())
    }

    /// Meters without a burst let nothing pass on either side, whatever the time.
    fn close(&self, image: &Image) {
        let ahead = |now_steps: u64| now_steps.wrapping_add(CLOSED_STEPS);
        for (number, terms) in image.meters.iter().enumerate() {
            if terms.bytes.factor == 0 || terms.bytes.burst != 0 {
                continue;
            }
            if let Some(meter) = self.host.meter(number as u32) {
                meter.owe(ahead(self.host.now_steps(true)));
            }
            if let Some(meter) = self.kernel.meters().get(number) {
                meter.owe(ahead(monotonic_ns().wrapping_mul(STEPS_PER_NS)));
            }
        }
    }

    /// No flow was ever there.
    pub fn empty_flows(&mut self) -> Result<()> {
        let table = self.kernel.flow_table();
        table::halves(table).chain(table::host_halves(&self.host)).for_each(table::clear);
        table.of_tenant.iter().chain(table.away).for_each(|count| count.store(0));
        self.read_parked()?;
        let datagrams = self.kernel.datagram_table();
        datagrams.shares.iter().for_each(|count| count.store(0));
        datagrams.slots.iter().for_each(table::clear_datagram);
        drive::forget(&self.host);
        self.host.datagrams().iter().for_each(table::clear_datagram);
        Ok(())
    }

    /// The daemon reads what was parked; to be called before that fills half of the ring, which
    /// the host's tables do not have.
    pub fn read_parked(&mut self) -> Result<()> {
        // As often as reads a full ring. It is sent in nowhere: nothing is attached.
        for _ in 0..4 {
            self.kernel.send_parked()?;
        }
        // It goes on counting as what waits.
        let shares = self.kernel.datagram_table().shares;
        for (tenant, of) in (0..TENANTS).flat_map(|tenant| PARKED.map(|of| (tenant, of))) {
            if let Some(count) = shares.get(of.index(tenant) as usize) {
                count.store(self.host.share_of(tenant, of).into());
            }
        }
        Ok(())
    }

    /// As many errors may be made as at the beginning, and everything was seen just now.
    pub fn refill(&mut self) -> Result<()> {
        self.host.pass(REFILL);
        for tenant in 0..TENANTS {
            self.reports.set(tenant, &0_u64.to_ne_bytes())?;
            self.copies.set(tenant, &0_u64.to_ne_bytes())?;
            self.claims.set(tenant, &0_u64.to_ne_bytes())?;
        }
        for attachment in 0..self.attachments {
            self.heard_at.set(attachment, &0_u64.to_ne_bytes())?;
        }
        (self.reported, self.copied, self.claimed) = (0, 0, 0);
        let hot = table::host_halves(&self.host).map(|(line, _, _)| line);
        table::touch(hot, self.host.now_ticks());
        table::touch(self.kernel.flow_table().lines.iter(), self.kernel.now_ticks());
        table::touch_datagrams(self.host.datagrams().iter(), self.host.now_ticks());
        self.grow_old_together();
        Ok(())
    }

    /// No flow is older in the kernel than on the host.
    fn grow_old_together(&self) {
        let ages = table::ages(&self.host, self.host.now_ticks());
        table::be_of_age(self.kernel.flow_table(), ages, self.kernel.now_ticks());
    }

    /// No error and no copy may be made until the next refill.
    pub fn silence(&mut self) -> Result<()> {
        for tenant in 0..TENANTS {
            while self.host.may_report(tenant) {}
            self.reports.set(tenant, &(u64::MAX / 2).to_ne_bytes())?;
            while self.host.may_copy(tenant, 1) {}
            self.copies.set(tenant, &(u64::MAX / 2).to_ne_bytes())?;
            while self.host.may_claim(tenant) {}
            self.claims.set(tenant, &(u64::MAX / 2).to_ne_bytes())?;
        }
        (self.reported, self.copied, self.claimed) = (0, 0, 0);
        Ok(())
    }

    /// Sends the packet through both.
    pub fn send(&mut self, sent: &Sent) -> Result<Agreed> {
        self.refill_in_time()?;
        let agreed = self.on_host(sent);
        let verdict = self.kernel.test_run(test_frame(sent))?;
        if agreed.passed.stop.is_none() && agreed.notes.iter().any(|n| n.what == note::STOP) {
            self.reported += 1;
        }
        if agreed.passed.work.is(flags::GROUP_FRAME) {
            self.copied += COPIES_EACH * agreed.passed.packet.segments();
        }
        let compared = self.compare(&agreed.passed, &verdict, sent.hook);
        let (ours, theirs) = (self.host.take_heard(), self.kernel.heard());
        self.claimed += ours.len() as u32;
        ensure!(ours == theirs, "the host heard {ours:?}, the kernel {theirs:?}");
        compared.with_context(|| {
            let (stop, notes) = (agreed.passed.stop, &agreed.notes);
            format!("{sent:02x?}\n  host: {stop:?} {notes:?}\n  kernel: {verdict:02x?}")
        })?;
        Ok(agreed)
    }

    /// Before a rate is used up, which depends on time.
    fn refill_in_time(&mut self) -> Result<()> {
        let is_used = self.reported >= REPORTS_MAX || self.copied >= COPIES_MAX;
        if is_used || self.claimed >= CLAIMS_MAX {
            self.refill()?;
        }
        // Nor is a datagram over, or a flow older, for the kernel alone, whose clock goes on.
        if self.touched.elapsed() > TOUCH_EVERY {
            self.touched = Instant::now();
            table::touch_datagrams(
                self.kernel.datagram_table().slots.iter(),
                self.kernel.now_ticks(),
            );
            self.grow_old_together();
        }
        Ok(())
    }

    fn on_host(&self, sent: &Sent) -> Agreed {
        let mut packet = HostPacket::of_test_run(sent.hook, sent.ifindex, &sent.frame);
        if sent.segment_bytes != 0 {
            let count = (sent.frame.len() as u32).div_ceil(sent.segment_bytes);
            packet = packet.segments_of(sent.segment_bytes, count);
        }
        let tables = Watched::new(&self.host, self.forgotten_rule);
        let passed = drive::pass(&tables, packet);
        Agreed { passed, notes: tables.into_notes() }
    }

    fn compare(&self, passed: &Passed, verdict: &Verdict, hook: Hook) -> Result<()> {
        let drop = if hook == Hook::Xdp { XDP_DROP } else { TC_SHOT };
        if passed.stop.is_some() {
            ensure!(verdict.code == drop, "the host stops it, the kernel answers {}", verdict.code);
            return Ok(());
        }
        if matches!(passed.work.job, job::HEAR | job::PARK) {
            ensure!(verdict.code == drop, "the host keeps it, the kernel answers {}", verdict.code);
            return Ok(());
        }
        if passed.is_flooded {
            let code = verdict.code;
            ensure!(code == drop, "the host makes copies, the kernel answers {code}");
            return Ok(());
        }
        let is_passed = passed.work.job == job::PASS;
        let output = match is_passed {
            true => Output { kind: output_kind::HOST, ..Output::default() },
            false => self.host.output(passed.work.output).copied().unwrap_or_default(),
        };
        let expected = match (hook, output.kind) {
            (Hook::Tc, output_kind::HOST) => TC_OK,
            (Hook::Tc, _) => TC_REDIRECT,
            (Hook::Xdp, output_kind::NIC) => XDP_REDIRECT,
            (Hook::Xdp, _) => XDP_PASS,
        };
        ensure!(verdict.code == expected, "verdict {}, not {expected}", verdict.code);
        let metadata = if expected == XDP_PASS && hook == Hook::Xdp {
            let mark = DELIVERY_MARK | output.kind;
            let id = if is_passed { 0 } else { passed.work.output };
            [output.ifindex, mark, id].map(u32::to_ne_bytes).concat()
        } else {
            Vec::new()
        };
        ensure!(verdict.metadata == metadata, "metadata, expected {metadata:02x?}");
        let frame = passed.packet.laid_out();
        if verdict.frame != frame {
            let at = verdict.frame.iter().zip(frame).position(|(one, other)| one != other);
            bail!("frames of {} and {} differ at {at:?}", verdict.frame.len(), frame.len());
        }
        Ok(())
    }

    /// Asks the tracing twin about the packet before it is sent: its verdict, the way out
    /// that it notes, and that it changed nothing.
    pub fn trace_then_send(&mut self, sent: &Sent) -> Result<Agreed> {
        self.refill_in_time()?;
        let trace = self.kernel.trace_run(test_frame(sent))?;
        self.compare_tables().context("after a trace")?;
        let agreed = self.send(sent)?;
        self.compare(&agreed.passed, &trace.verdict, sent.hook).context("the twin")?;
        let ends = |notes: &[Note]| {
            let is_end = |n: &&Note| {
                let ends =
                    [note::EMIT, note::STOP, note::COPIED, note::FLOODED, note::EARLY, note::LIMIT];
                ends.contains(&n.what)
            };
            notes.iter().filter(is_end).copied().collect::<Vec<_>>()
        };
        ensure!(ends(&trace.notes) == ends(&agreed.notes), "traced {:?}", trace.notes);
        Ok(agreed)
    }

    /// Compares every counter and every flow record; answers how many halves are in force.
    pub fn compare_tables(&mut self) -> Result<usize> {
        add(&mut self.counted, self.host.take_counters());
        let counted = self.kernel_counters()?;
        ensure!(
            self.counted == counted,
            "counted differently:\n  host {:?}\n  kernel {counted:?}",
            self.counted
        );
        let table = self.kernel.flow_table();
        for tenant in 0..TENANTS {
            let (ours, theirs) = (
                self.host.halves_of(tenant),
                table.of_tenant.get(tenant as usize).map_or(0, Word64::load),
            );
            ensure!(ours == theirs, "halves of tenant {tenant}: {ours:x} and {theirs:x}");
        }
        let datagrams = self.kernel.datagram_table();
        for tenant in 0..TENANTS {
            for of in Share::ALL {
                let ours = u64::from(self.host.share_of(tenant, of));
                let theirs =
                    datagrams.shares.get(of.index(tenant) as usize).map_or(0, Word64::load);
                ensure!(ours == theirs, "{of:?} of tenant {tenant}: {ours} and {theirs}");
            }
        }
        table::compare_datagrams(&self.host, datagrams.slots)?;
        table::compare(&self.host, table)
    }

    /// What was counted on both sides up to the last comparison.
    #[must_use]
    pub const fn counted(&self) -> &Counters {
        &self.counted
    }

    fn kernel_counters(&self) -> Result<Counters> {
        let mut counters = Counters::default();
        for (id, of) in (0..).zip(self.kernel.counters(self.attachments)?) {
            let all = [
                (Counter::Received, of.received),
                (Counter::Sent, of.sent),
                (Counter::Answered, of.answered),
                (Counter::Reported, of.reported),
                (Counter::Heard, of.heard),
                (Counter::Flooded, of.flooded),
                (Counter::Copied, of.copied),
                (Counter::Parked, of.parked),
                (Counter::Passed, of.passed),
            ];
            for (counter, tally) in all.into_iter().filter(|(_, of)| *of != Tally::default()) {
                counters.counts.insert((id, counter as u8), tally);
            }
        }
        let stops: BTreeMap<(u32, Stop), u64> = self
            .kernel
            .stops(TENANTS)?
            .into_iter()
            .map(|count| ((count.tenant, count.stop), count.packets))
            .collect();
        counters.stops = stops;
        Ok(counters)
    }
}

/// The kernel's exact clock.
fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from);
    now.map_or(0, |now| now.as_nanos() as u64)
}

fn test_frame(sent: &Sent) -> TestFrame<'_> {
    let hooked = if sent.hook == Hook::Xdp { Hooked::Xdp } else { Hooked::Tcx };
    let frame = TestFrame::new(hooked, sent.ifindex, &sent.frame);
    TestFrame { segment_bytes: sent.segment_bytes, ..frame }
}

fn add(total: &mut Counters, more: Counters) {
    for (key, tally) in more.counts {
        let sum = total.counts.entry(key).or_default();
        sum.packets += tally.packets;
        sum.bytes += tally.bytes;
    }
    for (key, count) in more.stops {
        *total.stops.entry(key).or_default() += count;
    }
}

/// Runs `test` with host and kernel side by side, on the site's own image.
pub fn with<T: Send>(
    name: &str,
    flow_lines: u32,
    test: impl FnOnce(&Site, &mut Pair) -> Result<T> + Send,
) -> Result<T> {
    let lab = Lab::new(name)?;
    let mut ifindexes = ifindexes(&Site::new().world.image);
    ifindexes.extend(crate::rows::rows().iter().map(|row| row.sent_frame().ifindex));
    ifindexes.sort_unstable();
    ifindexes.dedup();
    interfaces(&lab, &ifindexes)?;
    let place = place(&lab)?;
    lab.dut().in_ns(|| {
        let site = Site::new();
        let mut pair = Pair::new(place, &site.world.image, flow_lines, &ifindexes)?;
        test(&site, &mut pair)
    })?
}

/// A place of the lab's own.
pub fn place(lab: &Lab) -> Result<Place> {
    Ok(Place { pin: lab.bpffs()?.join("pair"), state: lab.folder().join("pair-state") })
}

/// Makes interfaces of these numbers in the lab's namespace; nothing is attached to
/// them. They are up: the kernel takes copies of frames for them.
pub fn interfaces(lab: &Lab, ifindexes: &[u32]) -> Result<()> {
    for ifindex in ifindexes {
        let number = 10_000 + ifindex;
        let command = format!(
            "ip link add pair{ifindex} index {ifindex} type veth peer name far{ifindex} index {number}"
        );
        lab.dut().run(&command.split(' ').collect::<Vec<_>>())?.ok()?;
        for end in [format!("pair{ifindex}"), format!("far{ifindex}")] {
            lab.dut()
                .run(&["ip", "link", "set", &end, "arp", "off", "addrgenmode", "none", "up"])?
                .ok()?;
        }
    }
    Ok(())
}

/// Every number that the image has an interface for, and one that nobody knows.
#[must_use]
pub fn ifindexes(image: &Image) -> Vec<u32> {
    let mut all: Vec<_> = image.attachments.keys().map(|key| key.ifindex).collect();
    all.push(STRANGE_IFINDEX);
    all.sort_unstable();
    all.dedup();
    all
}

/// Does BPF_PROG_TEST_RUN take the packet? Not where it is longer than a page, ends with
/// its Ethernet header or, at tcx, within the IP header that its EtherType promises.
#[must_use]
pub fn can_run(sent: &Sent) -> bool {
    let ip_bytes = match (sent.hook, sent.frame.get(12..14)) {
        (Hook::Tc, Some([0x08, 0x00])) => 20,
        (Hook::Tc, Some([0x86, 0xdd])) => 40,
        _ => 1,
    };
    (14 + ip_bytes..=3400).contains(&sent.frame.len())
}

/// An interface that no attachment is at.
pub const STRANGE_IFINDEX: u32 = 9;
