//! How are frames of many flows made, as fast as the kernel passes them on?
//!
//! A program writes each live frame anew: that of its side, with two of its fields taken from
//! the number of the flow, and right checksums. The numbers are reckoned and not read from a
//! table, whose cache lines would be the device's.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::net::if_::if_nametoindex;

use super::{DROP, REDIRECT_MAP, time};
use crate::check;
use crate::lab::Host;
use crate::packet::Hook;
use crate::sys::bpf::{self, Instruction, Kind};
use crate::sys::{Map, MapKind};

/// Flows at most.
pub const FLOWS_MAX: u32 = 1 << 24;
/// Odd, so that every number of a power of two comes once; and far from its neighbours.
const STRIDE: i32 = 0x5bd1_e995;
/// Where on the stack the context is.
const CONTEXT: i16 = -8;
/// Frames that the kernel is asked for at a time.
const FRAMES_MAX: u32 = 1 << 22;

/// What one side of the flows sends.
#[derive(Clone, Debug)]
pub struct Side<'host> {
    /// Whose cable it is put on.
    pub from: &'host Host,
    /// The frame of flow 0: IPv4 without options or IPv6, UDP or TCP.
    pub frame: Vec<u8>,
    /// Where the two parts of a flow's number are added.
    pub vary: [Field; 2],
}

/// A field of 16 bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Field {
    /// The source port.
    SrcPort,
    /// The destination port.
    DstPort,
    /// Bits 0 to 15 of the source address, from the left.
    SrcHigh,
    /// Its last 16 bits, 64 addresses apart.
    SrcLow,
    /// Bits 0 to 15 of the destination address.
    DstHigh,
    /// Its last 16 bits, 64 addresses apart.
    DstLow,
}

impl Field {
    /// The same seen from the other side.
    #[must_use]
    pub const fn answer(self) -> Self {
        match self {
            Self::SrcPort => Self::DstPort,
            Self::DstPort => Self::SrcPort,
            Self::SrcHigh => Self::DstHigh,
            Self::SrcLow => Self::DstLow,
            Self::DstHigh => Self::SrcHigh,
            Self::DstLow => Self::SrcLow,
        }
    }

    const fn shift_bits(self) -> u32 {
        match self {
            Self::SrcLow | Self::DstLow => 6,
            Self::SrcPort | Self::DstPort | Self::SrcHigh | Self::DstHigh => 0,
        }
    }
}

/// Frames of many flows, without end.
#[derive(Debug)]
pub struct Flows {
    program: OwnedFd,
    kind: Kind,
    first: Vec<u8>,
    _next: Map,
    _ends: Map,
}

impl Flows {
    /// So many values of the first field that varies, times so many of the second: powers of
    /// two. Two sides take turns.
    pub fn new(sides: &[Side<'_>], values: [u32; 2]) -> Result<Self> {
        let devices = Map::new(MapKind::Devices, 4, 2)?;
        for (number, side) in (0..).zip(sides) {
            side.from.in_ns(|| {
                devices.set(number, &if_nametoindex(side.from.link())?.to_ne_bytes())
            })??;
        }
        Self::ending(sides, values, (Kind::Xdp, devices), |devices, side| {
            let [low, high] = bpf::map(bpf::R1, devices.fd());
            let sent = [bpf::mov(bpf::R3, 0), bpf::call(REDIRECT_MAP), bpf::exit()];
            [[low, high, bpf::mov(bpf::R2, side)].as_slice(), &sent].concat()
        })
    }

    /// The same for a program at this hook, which goes on with them as if they had come in: they
    /// are [run](Self::run) and not sent.
    pub fn before(
        program: BorrowedFd<'_>,
        hook: Hook,
        sides: &[Side<'_>],
        values: [u32; 2],
    ) -> Result<Self> {
        let programs = Map::new(MapKind::Programs, 4, 1)?;
        programs.set(0, &program.as_raw_fd().to_ne_bytes())?;
        let kind = if hook == Hook::Xdp { Kind::Xdp } else { Kind::SchedCls };
        Self::ending(sides, values, (kind, programs), |programs, _| {
            let [low, high] = bpf::map(bpf::R2, programs.fd());
            let context = bpf::load_double(bpf::R1, bpf::R10, CONTEXT);
            let gone_on = [bpf::mov(bpf::R3, 0), bpf::call(bpf::TAIL_CALL)];
            let not = [bpf::mov(bpf::R0, DROP), bpf::exit()];
            [[context, low, high].as_slice(), &gone_on, &not].concat()
        })
    }

    /// Frames with which becomes what `end` says, by the number of the side.
    fn ending(
        sides: &[Side<'_>],
        [low, high]: [u32; 2],
        (kind, ends): (Kind, Map),
        end: impl Fn(&Map, i32) -> Vec<Instruction>,
    ) -> Result<Self> {
        let flows = low.checked_mul(high).filter(|flows| *flows <= FLOWS_MAX).unwrap_or(0);
        ensure!(flows.is_power_of_two(), "{low} times {high} flows");
        ensure!(matches!(sides.len(), 1 | 2), "{} sides", sides.len());
        let next = Map::new(MapKind::Array, 8, 1)?;
        let (first, is_turns) = (sides.first().context("no side")?, sides.len() == 2);
        let frame_bytes = first.frame.len();
        ensure!(sides.iter().all(|side| side.frame.len() == frame_bytes), "frames of two sizes");
        let frame = first.frame.clone();
        let first = Layout::of(first)?.program([low, high], &end(&ends, 0))?;

        let (data, data_end) = match kind {
            Kind::Xdp => (bpf::XDP_DATA, bpf::XDP_DATA_END),
            Kind::SchedCls => (bpf::SKB_DATA, bpf::SKB_DATA_END),
        };
        let mut program = vec![
            bpf::store_double_of(bpf::R10, CONTEXT, bpf::R1),
            bpf::load_word(bpf::R6, bpf::R1, data),
            bpf::load_word(bpf::R3, bpf::R1, data_end),
            bpf::mov_register(bpf::R4, bpf::R6),
            bpf::add(bpf::R4, frame_bytes.try_into()?),
            bpf::mov(bpf::R0, DROP),
            bpf::jump_if_not_greater(bpf::R4, bpf::R3, 1),
            bpf::exit(),
        ];
        program.extend(bpf::map_value(bpf::R1, next.fd()));
        program.extend([
            bpf::load_double(bpf::R8, bpf::R1, 0),
            bpf::mov_register(bpf::R2, bpf::R8),
            bpf::add(bpf::R2, 1),
            bpf::store_double_of(bpf::R1, 0, bpf::R2),
            bpf::mov_register(bpf::R7, bpf::R8),
            bpf::and(bpf::R7, i32::from(is_turns)),
            bpf::shift_right(bpf::R8, i32::from(is_turns)),
            bpf::multiply(bpf::R8, STRIDE),
            bpf::and(bpf::R8, i32::try_from(flows - 1)?),
            bpf::mov_register(bpf::R9, bpf::R8),
            bpf::and(bpf::R8, i32::try_from(low - 1)?),
            bpf::shift_right(bpf::R9, low.ilog2().try_into()?),
            bpf::jump_if_not_equal(bpf::R7, 0, first.len().try_into()?),
        ]);
        program.extend(first);
        if let Some(second) = sides.get(1) {
            program.extend(Layout::of(second)?.program([low, high], &end(&ends, 1))?);
        } else {
            program.extend([bpf::mov(bpf::R0, DROP), bpf::exit()]);
        }
        let program = bpf::load(kind, &program)?;
        Ok(Self { program, kind, first: frame, _next: next, _ends: ends })
    }

    /// The next frame, which is not sent.
    pub fn frame(&self) -> Result<Vec<u8>> {
        bpf::changed(&self.program, &vec![0; self.first.len()])
    }

    /// Sends so many frames from one CPU; returns when all have gone where they go, and what
    /// time of that CPU it took.
    pub fn send(&self, frames: u32, cpu: usize) -> Result<Duration> {
        ensure!(frames <= FRAMES_MAX, "{frames} frames at a time");
        // What is in it is the program's.
        let frame = vec![0; self.first.len()];
        time::on_cpu(cpu, || bpf::live_run(&self.program, &frame, frames))
    }

    /// Lets the program that they are made for have so many, at this interface of the calling
    /// thread's namespace; answers how long each took, what it takes to make it included.
    pub fn run(&self, ifindex: u32, frames: u32) -> Result<Duration> {
        // The kernel looks at its protocol, once.
        bpf::test_run_at((&self.program, self.kind), ifindex, &self.first, frames)
    }
}

/// Where in a side's frame is what?
struct Layout<'side> {
    side: &'side Side<'side>,
    l3: usize,
    l4: usize,
    is_v4: bool,
    is_udp: bool,
}

impl<'side> Layout<'side> {
    fn of(side: &'side Side<'side>) -> Result<Self> {
        let frame = &side.frame;
        ensure!(frame.len().is_multiple_of(4) && frame.len() <= 96, "{} bytes", frame.len());
        ensure!(frame.len() >= 64, "{} bytes", frame.len());
        let l3 = check::l3(frame);
        let (l4, protocol, is_v4) = match frame[l3 - 2..l3] {
            [8, 0] => (l3 + 20, frame[l3 + 9], true),
            [0x86, 0xdd] => (l3 + 40, frame[l3 + 6], false),
            ref other => anyhow::bail!("ethertype {other:x?}"),
        };
        ensure!(matches!(protocol, 6 | 17), "protocol {protocol}");
        Ok(Self { side, l3, l4, is_v4, is_udp: protocol == 17 })
    }

    fn program(&self, values: [u32; 2], end: &[Instruction]) -> Result<Vec<Instruction>> {
        let (words, _) = self.side.frame.as_chunks::<4>();
        let mut program: Vec<_> = (0..)
            .zip(words)
            .map(|(at, word)| bpf::store_word(bpf::R6, 4 * at, i32::from_ne_bytes(*word)))
            .collect();
        let [low, high] = self.side.vary;
        for ((register, field), values) in [(bpf::R8, low), (bpf::R9, high)].into_iter().zip(values)
        {
            let at = self.at(field);
            let first = u16::from_be_bytes(self.half(at));
            let last = u32::from(first) + ((values - 1) << field.shift_bits());
            ensure!(last <= u16::MAX.into(), "{values} values of {field:?} from {first} on");
            program.extend([
                bpf::shift_left(register, field.shift_bits().try_into()?),
                bpf::add(register, first.into()),
                bpf::to_network(register),
                bpf::store_half_of(bpf::R6, at.try_into()?, register),
            ]);
        }
        let is_address = |field| !matches!(field, Field::SrcPort | Field::DstPort);
        let varied = [(bpf::R8, low), (bpf::R9, high)];
        self.sum(&mut program, self.l4 + if self.is_udp { 6 } else { 16 }, &varied)?;
        if self.is_v4 {
            let addresses: Vec<_> =
                varied.into_iter().filter(|(_, field)| is_address(*field)).collect();
            self.sum(&mut program, self.l3 + 10, &addresses)?;
        }
        program.extend_from_slice(end);
        Ok(program)
    }

    /// Writes a sum, of which the varied fields are a part (RFC 1624): each register has its
    /// field as it is in the frame by now.
    fn sum(&self, program: &mut Vec<Instruction>, at: usize, varied: &[(u8, Field)]) -> Result<()> {
        let word = |at| u32::from(u16::from_ne_bytes(self.half(at)));
        let gone: u32 = varied.iter().map(|(_, field)| 0xffff ^ word(self.at(*field))).sum();
        let rest = (0xffff ^ word(at)) + gone;
        program.push(bpf::mov(bpf::R4, rest.try_into()?));
        program.extend(varied.iter().map(|(register, _)| bpf::add_register(bpf::R4, *register)));
        for _ in 0..2 {
            program.extend([
                bpf::mov_register(bpf::R5, bpf::R4),
                bpf::shift_right(bpf::R5, 16),
                bpf::and(bpf::R4, 0xffff),
                bpf::add_register(bpf::R4, bpf::R5),
            ]);
        }
        program.push(bpf::xor(bpf::R4, 0xffff));
        if self.is_udp {
            // Zero would say that there is no sum (RFC 768).
            program.extend([bpf::jump_if_not_equal(bpf::R4, 0, 1), bpf::mov(bpf::R4, 0xffff)]);
        }
        program.push(bpf::store_half_of(bpf::R6, at.try_into()?, bpf::R4));
        Ok(())
    }

    const fn at(&self, field: Field) -> usize {
        let (src, dst, end) = if self.is_v4 { (12, 16, 2) } else { (8, 24, 14) };
        match field {
            Field::SrcPort => self.l4,
            Field::DstPort => self.l4 + 2,
            Field::SrcHigh => self.l3 + src,
            Field::SrcLow => self.l3 + src + end,
            Field::DstHigh => self.l3 + dst,
            Field::DstLow => self.l3 + dst + end,
        }
    }

    fn half(&self, at: usize) -> [u8; 2] {
        [self.side.frame[at], self.side.frame[at + 1]]
    }
}
