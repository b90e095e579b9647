//! Which panics are left in a BPF object?

/// The names of panicking functions, or nothing if this is no 64-bit ELF file.
///
/// Only the symbols' names are read: debug information mentions panics that the
/// optimiser has long removed.
pub fn panics(elf: &[u8]) -> Option<Vec<String>> {
    // The numbers are offsets into the headers of System V gABI, "Object Files".
    const SYMTAB: u64 = 2;
    const SECTION_BYTES: usize = 64;

    if elf.get(..5)? != b"\x7fELF\x02" {
        return None;
    }
    let big_endian = *elf.get(5)? == 2;
    let number = |at: usize, len: usize| {
        let mut bytes = elf.get(at..at.checked_add(len)?)?.to_vec();
        if !big_endian {
            bytes.reverse();
        }
        Some(bytes.into_iter().fold(0, |number, byte| number << 8 | u64::from(byte)))
    };
    let index = |at: usize, len: usize| usize::try_from(number(at, len)?).ok();

    let sections_at = index(40, 8)?;
    let section = |nth: usize| sections_at + nth * SECTION_BYTES;
    let symbols = (0..index(60, 2)?).map(section).find(|at| number(at + 4, 4) == Some(SYMTAB))?;
    let names = section(index(symbols + 40, 4)?);
    let names = elf.get(index(names + 24, 8)?..)?.get(..index(names + 32, 8)?)?;
    Some(
        names
            .split(|byte| *byte == 0)
            .map(String::from_utf8_lossy)
            .filter(|name| name.contains("panic") && !name.starts_with('.'))
            .map(String::from)
            .collect(),
    )
}
