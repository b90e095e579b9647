//! Where does the running kernel have what the programs look at beside packets?
//!
//! In its own description of its types (BTF), and in its list of symbols. What cannot be found is
//! not seen, and said so; nothing is guessed.

use std::fs;

/// Places in the running kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kernel {
    /// Where fields lie.
    pub fields: Option<Fields>,
    /// First address and length of `skb_do_redirect`.
    pub redirect: Option<(u64, u64)>,
}

/// Offsets of fields, bytes.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Fields {
    /// The pointer to the device in `struct sk_buff`.
    pub frame_device: u32,
    /// `ifindex` in `struct net_device`.
    pub device_ifindex: u32,
    /// The pointer to the network namespace there.
    pub device_namespace: u32,
    /// The inode in `struct net`.
    pub namespace_inode: u32,
}

impl Kernel {
    /// Of the kernel that runs.
    pub fn running() -> Self {
        let types = fs::read("/sys/kernel/btf/vmlinux").unwrap_or_default();
        let symbols = fs::read_to_string("/proc/kallsyms").unwrap_or_default();
        Self { fields: fields(&types), redirect: function(&symbols, "skb_do_redirect") }
    }
}

fn fields(types: &[u8]) -> Option<Fields> {
    let types = Types::parse(types)?;
    let offset = |structure, field| types.offset_bytes(structure, field);
    Some(Fields {
        frame_device: offset("sk_buff", "dev")?,
        device_ifindex: offset("net_device", "ifindex")?,
        device_namespace: offset("net_device", "nd_net")?,
        namespace_inode: offset("net", "ns")?.checked_add(offset("ns_common", "inum")?)?,
    })
}

/// Address and length of a function: the next symbol ends it.
fn function(symbols: &str, name: &str) -> Option<(u64, u64)> {
    // `ffffffff81e9fe60 T skb_do_redirect`, in no order.
    let all = || {
        symbols.lines().filter_map(|line| {
            let (address, rest) = line.split_once(' ')?;
            Some((u64::from_str_radix(address, 16).ok()?, rest.get(2..)?))
        })
    };
    // Who may not see addresses sees zeros.
    let start = all().find(|&(address, of)| of == name && address != 0)?.0;
    let end = all().map(|(address, _)| address).filter(|&address| address > start).min()?;
    Some((start, end - start))
}

/// The kernel's types in BTF (Documentation/bpf/btf.rst). Whatever is not as it should be is not
/// found.
struct Types<'t> {
    bytes: &'t [u8],
    names: &'t [u8],
    /// Where each type is told, by its number; 0 is `void`.
    at: Vec<usize>,
}

/// Structures in structures at most.
const DEPTH_MAX: u32 = 8;

impl<'t> Types<'t> {
    fn parse(bytes: &'t [u8]) -> Option<Self> {
        const MAGIC: u32 = 0xeb9f;
        let mut types = Self { bytes, names: &[], at: vec![0] };
        (types.word(0)? & 0xffff == MAGIC).then_some(())?;
        let [header_bytes, types_at, types_bytes, names_at] =
            [types.word(4)?, types.word(8)?, types.word(12)?, types.word(16)?].map(|n| n as usize);
        types.names = bytes.get(header_bytes.checked_add(names_at)?..)?;
        let mut at = header_bytes.checked_add(types_at)?;
        let end = at.checked_add(types_bytes)?;
        while at < end {
            types.at.push(at);
            let info = types.word(at + 4)?;
            at += 12 + kind::more_bytes(info)?;
        }
        Some(types)
    }

    /// Where a field lies in a structure, or in what has no name in it.
    fn offset_bytes(&self, structure: &str, field: &str) -> Option<u32> {
        let found = self.at.iter().skip(1).find_map(|&at| {
            let is_it = kind::of(self.word(at + 4)?) == kind::STRUCT
                && self.name(self.word(at)?)? == structure;
            if is_it { self.offset_bits(at, field, DEPTH_MAX) } else { None }
        })?;
        found.is_multiple_of(8).then_some(found / 8)
    }

    fn offset_bits(&self, structure: usize, field: &str, depth: u32) -> Option<u32> {
        let info = self.word(structure + 4)?;
        if depth == 0 || !matches!(kind::of(info), kind::STRUCT | kind::UNION) {
            return None;
        }
        (0..kind::count(info)).find_map(|number| {
            let at = structure + 12 + 12 * number;
            let (name, of, offset) = (self.word(at)?, self.word(at + 4)?, self.word(at + 8)?);
            let offset = if kind::has_bitfields(info) { offset & 0x00ff_ffff } else { offset };
            match self.name(name)? {
                found if found == field => Some(offset),
                "" => {
                    let inner = self.offset_bits(*self.at.get(of as usize)?, field, depth - 1)?;
                    offset.checked_add(inner)
                }
                _ => None,
            }
        })
    }

    fn word(&self, at: usize) -> Option<u32> {
        Some(u32::from_ne_bytes(self.bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
    }

    fn name(&self, offset: u32) -> Option<&'t str> {
        let name = self.names.get(offset as usize..)?;
        std::str::from_utf8(name.get(..name.iter().position(|byte| *byte == 0)?)?).ok()
    }
}

/// Kinds of types (linux/btf.h).
mod kind {
    pub const STRUCT: u32 = 4;
    pub const UNION: u32 = 5;

    pub const fn of(info: u32) -> u32 {
        info >> 24 & 0x1f
    }

    pub const fn count(info: u32) -> usize {
        (info & 0xffff) as usize
    }

    pub const fn has_bitfields(info: u32) -> bool {
        info >> 31 != 0
    }

    /// What follows the common part.
    pub const fn more_bytes(info: u32) -> Option<usize> {
        let count = count(info);
        Some(match of(info) {
            // Pointers, forward declarations, typedefs, qualifiers, functions, floats, tags.
            2 | 7..=12 | 16 | 18 => 0,
            // Integers, variables, tags of declarations.
            1 | 14 | 17 => 4,
            3 => 12,
            // Structures, unions, sections, 64-bit enumerations.
            STRUCT | UNION | 15 | 19 => 12 * count,
            // Enumerations and prototypes.
            6 | 13 => 8 * count,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `int`, `struct pair { int first; union { struct pair *next @64; }; }`, a pointer, and the
    /// union.
    fn types() -> Vec<u8> {
        let names = b"\0int\0pair\0next\0first\0";
        let types: [u32; 4 + 9 + 3 + 6] = [
            1,
            1 << 24,
            4,
            32, // int
            5,
            4 << 24 | 2,
            16,
            15,
            1,
            0,
            0,
            4,
            64, // pair
            0,
            2 << 24,
            2, // pointer
            0,
            5 << 24 | 1,
            8,
            10,
            3,
            0, // union
        ];
        let bytes = types.len() as u32 * 4;
        let header = [0xeb9f | 1 << 16, 24, 0, bytes, bytes, names.len() as u32];
        let words = header.into_iter().chain(types).flat_map(u32::to_ne_bytes);
        words.chain(names.iter().copied()).collect()
    }

    #[test]
    fn fields_are_found_by_their_names() {
        let bytes = types();
        let types = Types::parse(&bytes).expect("whole");
        assert_eq!(types.offset_bytes("pair", "first"), Some(0));
        assert_eq!(types.offset_bytes("pair", "next"), Some(8));
        assert_eq!(types.offset_bytes("pair", "last"), None);
        assert_eq!(types.offset_bytes("int", "next"), None);
        // Whatever is cut off, nothing is read beyond it.
        for length in 0..bytes.len() {
            let _ = Types::parse(&bytes[..length]).map(|types| types.offset_bytes("pair", "next"));
        }
        assert_eq!(fields(&bytes), None);
    }

    #[test]
    fn a_function_ends_where_the_next_symbol_begins() {
        let symbols = "0000000000000030 t c\n0000000000000010 T a\n0000000000000018 t b\tmodule\n";
        assert_eq!(function(symbols, "a"), Some((0x10, 8)));
        assert_eq!(function(symbols, "c"), None);
        assert_eq!(function("0000000000000000 T a\n0000000000000000 T b\n", "a"), None);
    }
}
