//! Which station is it? A unicast MAC address.

use std::fmt;
use std::str::FromStr;

/// A MAC address that one station can have: unicast, and not zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac([u8; 6]);

/// Why a text is not a station's MAC address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MacError {
    /// Not six bytes.
    #[error("write six bytes as 02:00:00:00:00:01")]
    Shape,
    /// All zero.
    #[error("all bytes are zero")]
    Zero,
    /// The group bit is set.
    #[error("it is a multicast address (the first byte is odd)")]
    Multicast,
}

impl Mac {
    /// Checks six bytes.
    pub fn new(bytes: [u8; 6]) -> Result<Mac, MacError> {
        if bytes == [0; 6] {
            Err(MacError::Zero)
        } else if bytes[0] & 1 == 1 {
            Err(MacError::Multicast)
        } else {
            Ok(Mac(bytes))
        }
    }

    /// A locally administered address that depends on nothing but the words:
    /// a router keeps its MAC over restarts and on every host.
    pub fn derived(words: &[&str]) -> Mac {
        // FNV-1a: stable for ever, and nobody gains by a collision, which
        // `check` refuses on a segment.
        let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
        for byte in words.iter().flat_map(|word| word.bytes().chain([0])) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        let [_, _, b0, b1, b2, b3, b4, b5] = (hash ^ (hash >> 48)).to_be_bytes();
        Mac([(b0 & !1) | 2, b1, b2, b3, b4, b5])
    }

    /// The bytes as they are sent.
    pub fn octets(self) -> [u8; 6] {
        self.0
    }
}

impl FromStr for Mac {
    type Err = MacError;

    fn from_str(text: &str) -> Result<Mac, MacError> {
        let separator = if text.contains('-') { '-' } else { ':' };
        let mut bytes = [0; 6];
        let mut parts = text.split(separator);
        for byte in &mut bytes {
            let part = parts.next().ok_or(MacError::Shape)?;
            if part.len() != 2 || !part.bytes().all(|c| c.is_ascii_hexdigit()) {
                return Err(MacError::Shape);
            }
            *byte = u8::from_str_radix(part, 16).map_err(|_| MacError::Shape)?;
        }
        if parts.next().is_some() { Err(MacError::Shape) } else { Mac::new(bytes) }
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings() {
        for good in ["02:00:00:00:00:0a", "02-00-00-00-00-0A"] {
            assert_eq!(good.parse::<Mac>().unwrap().to_string(), "02:00:00:00:00:0a");
        }
        for (bad, why) in [
            ("", MacError::Shape),
            ("02:00:00:00:00", MacError::Shape),
            ("02:00:00:00:00:01:02", MacError::Shape),
            ("02:00:00:00:00:+1", MacError::Shape),
            ("2:0:0:0:0:1", MacError::Shape),
            ("00:00:00:00:00:00", MacError::Zero),
            ("01:00:5e:00:00:01", MacError::Multicast),
            ("ff:ff:ff:ff:ff:ff", MacError::Multicast),
        ] {
            assert_eq!(bad.parse::<Mac>(), Err(why), "{bad}");
        }
    }

    #[test]
    fn derived_is_stable_and_local() {
        // A change of this value changes every router's MAC at the next upgrade.
        let mac = Mac::derived(&["blue", "r1"]);
        assert_eq!(mac, Mac::derived(&["blue", "r1"]));
        assert_eq!(mac.octets()[0] & 3, 2);
        assert_ne!(mac, Mac::derived(&["blu", "er1"]));
    }
}
