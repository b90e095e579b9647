//! How do Internet checksums change when a packet does?
//!
//! A checksum is the ones' complement of the ones'-complement sum of 16-bit
//! words (RFC 1071). The sum does not depend on byte order (section 2), so words
//! are added as they lie in memory and no byte is ever swapped. A changed word
//! changes the checksum by `HC' = ~(~HC + ~m + m')` (RFC 1624, equation 3), which
//! is also right where the older equation of RFC 1141 yields a wrong zero.
//!
//! UDP writes a computed zero as all ones, since zero means "no checksum"
//! (RFC 768); ICMP, TCP and IPv4 have no such exception.

/// A ones'-complement sum in the making: add words, then [`fold`](Self::fold).
#[derive(Clone, Copy, Default)]
pub struct Sum(u64);

impl Sum {
    /// A sum that was begun elsewhere: any number of words added up.
    #[inline(always)]
    pub const fn begun(sum: u64) -> Self {
        Self(sum)
    }

    /// Adds a 16-bit word as it lies in memory.
    #[inline(always)]
    pub const fn word(self, word: [u8; 2]) -> Self {
        Self(self.0 + u16::from_ne_bytes(word) as u64)
    }

    /// Adds four bytes that start on an even offset.
    #[inline(always)]
    pub const fn quad(self, quad: [u8; 4]) -> Self {
        // 2^32 is 1 modulo 0xffff, so a 32-bit word may be added whole; the 64-bit
        // sum has room for 2^32 of them.
        Self(self.0 + u32::from_ne_bytes(quad) as u64)
    }

    /// Adds an address of 16 bytes.
    #[inline(always)]
    pub const fn addr(self, bytes: [u8; 16]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = bytes;
        self.quad([a, b, c, d]).quad([e, f, g, h]).quad([i, j, k, l]).quad([m, n, o, p])
    }

    /// Adds what a checksum field says of the rest: the sum that it was made from.
    #[inline(always)]
    pub const fn from_checksum(checksum: [u8; 2]) -> Self {
        Self(!u16::from_ne_bytes(checksum) as u64)
    }

    /// Replaces one word by another (RFC 1624, equation 3).
    #[inline(always)]
    pub const fn replace(self, old: [u8; 2], new: [u8; 2]) -> Self {
        Self(self.0 + !u16::from_ne_bytes(old) as u64 + u16::from_ne_bytes(new) as u64)
    }

    /// Takes a word out again: adds its complement.
    #[inline(always)]
    pub const fn minus(self, word: [u8; 2]) -> Self {
        Self(self.0 + !u16::from_ne_bytes(word) as u64)
    }

    /// The sum folded to 16 bits.
    #[inline(always)]
    pub const fn fold(self) -> [u8; 2] {
        let sum = (self.0 & 0xffff_ffff) + (self.0 >> 32);
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = (sum & 0xffff) + (sum >> 16);
        (sum as u16).to_ne_bytes()
    }

    /// The checksum: the complement of the folded sum.
    #[inline(always)]
    pub const fn checksum(self) -> [u8; 2] {
        (!u16::from_ne_bytes(self.fold())).to_ne_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 1071 as it stands: 16-bit words in network order, end-around carry.
    fn plain(bytes: &[u8]) -> [u8; 2] {
        let mut sum = 0_u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        (!(sum as u16)).to_be_bytes()
    }

    fn sum(bytes: &[u8]) -> Sum {
        bytes.chunks(2).fold(Sum::default(), |sum, pair| sum.word([pair[0], pair[1]]))
    }

    #[test]
    fn the_example_of_rfc_1071() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(sum(&bytes).fold(), [0xdd, 0xf2]);
        assert_eq!(sum(&bytes).checksum(), plain(&bytes));
    }

    #[test]
    fn a_replaced_word_gives_the_checksum_of_the_new_packet() {
        // Every corner of RFC 1624 section 5: sums that become 0 and 0xffff.
        for old in [0x0000_u16, 0x0001, 0x5555, 0xfffe, 0xffff] {
            for new in [0x0000_u16, 0x0001, 0x5555, 0xfffe, 0xffff] {
                for other in [0x0001_u16, 0xcdf1, 0x320e, 0xffff] {
                    let [a, b] = old.to_be_bytes();
                    let [c, d] = other.to_be_bytes();
                    let before = plain(&[a, b, c, d]);
                    let after = Sum::from_checksum(before).replace([a, b], new.to_be_bytes());
                    let [e, f] = new.to_be_bytes();
                    assert_eq!(after.checksum(), plain(&[e, f, c, d]), "{old:x} {new:x} {other:x}");
                }
            }
        }
    }

    #[test]
    fn quads_and_words_agree() {
        let bytes: Vec<u8> = (0..=255).collect();
        let quads = bytes
            .chunks(4)
            .fold(Sum::default(), |sum, quad| sum.quad([quad[0], quad[1], quad[2], quad[3]]));
        assert_eq!(quads.fold(), sum(&bytes).fold());
    }
}
