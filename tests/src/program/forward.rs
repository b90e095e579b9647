//! Which programs forward a frame and do nothing else? What any forwarding at XDP or tcx costs.

use std::os::fd::OwnedFd;

use anyhow::{Result, ensure};
use nix::net::if_::if_nametoindex;

use super::{Attached, DROP, REDIRECT_MAP};
use crate::sys::bpf::{self, Attach, Instruction, Kind};
use crate::sys::{Map, MapKind};

/// Helpers, <linux/bpf.h>.
const FIB_LOOKUP: i32 = 69;
const REDIRECT_PEER: i32 = 155;
/// TC_ACT_SHOT, <linux/pkt_cls.h>.
const SHOT: i32 = 2;
/// Interfaces' numbers in a namespace of the lab are below it.
const DEVICES: u32 = 256;
/// `struct bpf_fib_lookup`, and where in it is what.
const FIB_BYTES: i16 = 64;
const FIB_TOTAL_BYTES: i16 = 6;
const FIB_IFINDEX: i16 = 8;
const FIB_SRC: i16 = 16;
const FIB_DST: i16 = 32;
const FIB_SMAC: i16 = 52;
const FIB_DMAC: i16 = 58;

/// A program at XDP that forwards to interfaces of the namespace that it was made in.
#[derive(Debug)]
pub struct Forwarding {
    program: OwnedFd,
    _devices: Map,
    _table: Option<Map>,
}

/// The frame's beginning in R2, if it has so many bytes.
fn with_frame(bytes: i32) -> Vec<Instruction> {
    vec![
        bpf::load_word(bpf::R2, bpf::R1, bpf::XDP_DATA),
        bpf::load_word(bpf::R3, bpf::R1, bpf::XDP_DATA_END),
        bpf::mov_register(bpf::R4, bpf::R2),
        bpf::add(bpf::R4, bytes),
        bpf::mov(bpf::R0, DROP),
        bpf::jump_if_not_greater(bpf::R4, bpf::R3, 1),
        bpf::exit(),
    ]
}

/// Of the frame at R2.
fn swap_macs() -> impl Iterator<Item = Instruction> {
    [(0, 6), (2, 8), (4, 10)].into_iter().flat_map(|(dst, src)| {
        [
            bpf::load_half(bpf::R4, bpf::R2, dst),
            bpf::load_half(bpf::R5, bpf::R2, src),
            bpf::store_half_of(bpf::R2, dst, bpf::R5),
            bpf::store_half_of(bpf::R2, src, bpf::R4),
        ]
    })
}

impl Forwarding {
    /// One that exchanges the MACs and sends every frame to an interface of the calling
    /// thread's namespace: the least that forwarding costs.
    pub fn swapping(interface: &str) -> Result<Self> {
        let mut program = with_frame(14);
        program.extend(swap_macs());
        Self::sending(interface, program, None)
    }

    /// The same of IPv4 frames without options, with a line of 64 bytes for each flow, one of so
    /// many in an array, which is read and counted up: the least that any memory of flows costs.
    pub fn remembering(interface: &str, lines: u32) -> Result<Self> {
        ensure!(lines.is_power_of_two() && lines <= 1 << 22, "{lines} lines");
        let table = Map::new(MapKind::Array, 64 * lines as usize, 1)?;
        let mut program = with_frame(14 + 20 + 4);
        program.extend([
            // The destination and both ports, spread by multiplications.
            bpf::load_word(bpf::R6, bpf::R2, 14 + 16),
            bpf::load_word(bpf::R5, bpf::R2, 14 + 20),
            bpf::multiply(bpf::R6, 0x5bd1_e995),
            bpf::add_register(bpf::R6, bpf::R5),
            bpf::multiply(bpf::R6, 0x1b87_3593),
            bpf::shift_right(bpf::R6, 20),
            bpf::and(bpf::R6, i32::try_from(lines - 1)?),
            bpf::shift_left(bpf::R6, 6),
        ]);
        program.extend(bpf::map_value(bpf::R5, table.fd()));
        program.extend([
            bpf::add_register(bpf::R5, bpf::R6),
            bpf::load_double(bpf::R4, bpf::R5, 0),
            bpf::add(bpf::R4, 1),
            bpf::store_double_of(bpf::R5, 0, bpf::R4),
        ]);
        program.extend(swap_macs());
        Self::sending(interface, program, Some(table))
    }

    fn sending(interface: &str, mut program: Vec<Instruction>, table: Option<Map>) -> Result<Self> {
        let devices = Map::new(MapKind::Devices, 4, 1)?;
        devices.set(0, &if_nametoindex(interface)?.to_ne_bytes())?;
        program.extend(bpf::map(bpf::R1, devices.fd()));
        program.extend([
            bpf::mov(bpf::R2, 0),
            bpf::mov(bpf::R3, 0),
            bpf::call(REDIRECT_MAP),
            bpf::exit(),
        ]);
        let program = bpf::load(Kind::Xdp, &program)?;
        Ok(Self { program, _devices: devices, _table: table })
    }

    /// One that forwards IPv4 by the kernel's routes, as the kernel's sample `xdp_fwd` does, to
    /// these interfaces of the calling thread's namespace.
    pub fn by_routes(interfaces: &[&str]) -> Result<Self> {
        let devices = Map::new(MapKind::Devices, 4, DEVICES)?;
        for &interface in interfaces {
            let index = if_nametoindex(interface)?;
            ensure!(index < DEVICES, "{interface} is interface {index}");
            devices.set(index, &index.to_ne_bytes())?;
        }
        let fib = |field: i16| field - FIB_BYTES;
        let mut program = vec![
            bpf::load_word(bpf::R7, bpf::R1, bpf::XDP_DATA),
            bpf::load_word(bpf::R3, bpf::R1, bpf::XDP_DATA_END),
            bpf::mov_register(bpf::R4, bpf::R7),
            bpf::add(bpf::R4, 34),
            bpf::mov(bpf::R0, DROP),
            bpf::jump_if_not_greater(bpf::R4, bpf::R3, 1),
            bpf::exit(),
            bpf::load_half(bpf::R5, bpf::R7, 12),
            bpf::jump_if_equal(bpf::R5, u16::from_ne_bytes([8, 0]).into(), 1),
            bpf::exit(),
        ];
        program.push(bpf::mov(bpf::R0, 0));
        program.extend(
            (0..FIB_BYTES / 8).map(|word| bpf::store_double_of(bpf::R10, fib(8 * word), bpf::R0)),
        );
        program.extend([
            bpf::mov(bpf::R5, 2), // AF_INET
            bpf::store_byte_of(bpf::R10, fib(0), bpf::R5),
            bpf::load_byte(bpf::R5, bpf::R7, 14 + 9),
            bpf::store_byte_of(bpf::R10, fib(1), bpf::R5),
            bpf::load_half(bpf::R5, bpf::R7, 14 + 2),
            bpf::to_network(bpf::R5),
            bpf::store_half_of(bpf::R10, fib(FIB_TOTAL_BYTES), bpf::R5),
            bpf::load_word(bpf::R5, bpf::R1, bpf::XDP_INGRESS),
            bpf::store_word_of(bpf::R10, fib(FIB_IFINDEX), bpf::R5),
            bpf::load_word(bpf::R5, bpf::R7, 14 + 12),
            bpf::store_word_of(bpf::R10, fib(FIB_SRC), bpf::R5),
            bpf::load_word(bpf::R5, bpf::R7, 14 + 16),
            bpf::store_word_of(bpf::R10, fib(FIB_DST), bpf::R5),
            bpf::mov_register(bpf::R2, bpf::R10),
            bpf::add(bpf::R2, fib(0).into()),
            bpf::mov(bpf::R3, FIB_BYTES.into()),
            bpf::mov(bpf::R4, 0),
            bpf::call(FIB_LOOKUP),
            bpf::jump_if_equal(bpf::R0, 0, 2),
            bpf::mov(bpf::R0, DROP),
            bpf::exit(),
            // TTL - 1; the sum's high byte + 1, and what is carried (RFC 1141).
            bpf::load_byte(bpf::R5, bpf::R7, 14 + 8),
            bpf::add(bpf::R5, -1),
            bpf::store_byte_of(bpf::R7, 14 + 8, bpf::R5),
            bpf::load_half(bpf::R5, bpf::R7, 14 + 10),
            bpf::add(bpf::R5, u16::from_ne_bytes([1, 0]).into()),
            bpf::mov_register(bpf::R4, bpf::R5),
            bpf::shift_right(bpf::R4, 16),
            bpf::add_register(bpf::R5, bpf::R4),
            bpf::store_half_of(bpf::R7, 14 + 10, bpf::R5),
        ]);
        for (to, from) in [(0, FIB_DMAC), (6, FIB_SMAC)] {
            for half in [0, 2, 4] {
                program.extend([
                    bpf::load_half(bpf::R5, bpf::R10, fib(from + half)),
                    bpf::store_half_of(bpf::R7, to + half, bpf::R5),
                ]);
            }
        }
        program.push(bpf::load_word(bpf::R2, bpf::R10, fib(FIB_IFINDEX)));
        program.extend(bpf::map(bpf::R1, devices.fd()));
        program.extend([bpf::mov(bpf::R3, 0), bpf::call(REDIRECT_MAP), bpf::exit()]);
        Ok(Self { program: bpf::load(Kind::Xdp, &program)?, _devices: devices, _table: None })
    }

    /// Attaches it, in the calling thread's namespace.
    pub fn attach(&self, interface: &str) -> Result<Attached> {
        Attached::new(&self.program, interface, Attach::Xdp)
    }
}

/// At tcx of an interface of the calling thread's namespace: sends every frame straight into
/// the other end of another one's cable.
pub fn into_peer(interface: &str, to: &str) -> Result<Attached> {
    let index = if_nametoindex(to)?.try_into()?;
    let program =
        [bpf::mov(bpf::R1, index), bpf::mov(bpf::R2, 0), bpf::call(REDIRECT_PEER), bpf::exit()];
    Attached::new(&bpf::load(Kind::SchedCls, &program)?, interface, Attach::TcxIngress)
}

/// At tcx of an interface of the calling thread's namespace: the end of every frame.
pub fn sink_tcx(interface: &str) -> Result<Attached> {
    let program = [bpf::mov(bpf::R0, SHOT), bpf::exit()];
    Attached::new(&bpf::load(Kind::SchedCls, &program)?, interface, Attach::TcxIngress)
}
