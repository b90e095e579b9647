//! Which frames are in a capture file? (libpcap's format, version 2.4.)

use thiserror::Error;

/// Why a file is no capture that can be traced.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum Error {
    /// The first word is no pcap's.
    #[error("this is no pcap file (pcapng is converted by `tcpdump -r FILE -w NEW.pcap`)")]
    Magic,
    /// Frames of another link.
    #[error("the capture is of link type {0}; only Ethernet (1) can be traced")]
    LinkType(u32),
    /// Something is missing at the end.
    #[error("the file ends inside frame {0}")]
    Cut(usize),
}

/// The longest frame that is taken: a GSO packet.
const FRAME_BYTES_MAX: usize = 262_144;
const ETHERNET: u32 = 1;

/// The frames of the file, in order.
pub fn frames(file: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
    let word = |at: usize| -> Option<[u8; 4]> { file.get(at..at + 4)?.try_into().ok() };
    let magic = word(0).ok_or(Error::Magic)?;
    // Micro- and nanoseconds, of either byte order.
    let number: fn([u8; 4]) -> u32 = match u32::from_le_bytes(magic) {
        0xa1b2_c3d4 | 0xa1b2_3c4d => u32::from_le_bytes,
        0xd4c3_b2a1 | 0x4d3c_b2a1 => u32::from_be_bytes,
        _ => return Err(Error::Magic),
    };
    let link_type = number(word(20).ok_or(Error::Magic)?) & 0xffff;
    if link_type != ETHERNET {
        return Err(Error::LinkType(link_type));
    }
    let (mut frames, mut at) = (Vec::new(), 24);
    while at < file.len() {
        let cut = Error::Cut(frames.len() + 1);
        let Some(captured) = word(at + 8).map(number) else { return Err(cut) };
        let bytes = captured as usize;
        let frame = file.get(at + 16..(at + 16).saturating_add(bytes));
        match frame {
            Some(frame) if bytes <= FRAME_BYTES_MAX => frames.push(frame.to_vec()),
            _ => return Err(cut),
        }
        at += 16 + bytes;
    }
    Ok(frames)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(frames: &[&[u8]]) -> Vec<u8> {
        let mut file = 0xa1b2_c3d4_u32.to_le_bytes().to_vec();
        file.extend([2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0]);
        for frame in frames {
            file.extend([0; 8]);
            file.extend((frame.len() as u32).to_le_bytes());
            file.extend((frame.len() as u32).to_le_bytes());
            file.extend_from_slice(frame);
        }
        file
    }

    #[test]
    fn frames_come_back() {
        assert_eq!(frames(&file(&[b"one", b"", b"three"])).unwrap(), [&b"one"[..], b"", b"three"]);
    }

    #[test]
    fn what_is_no_capture_is_refused() {
        assert_eq!(frames(b""), Err(Error::Magic));
        assert_eq!(frames(&[0; 24]), Err(Error::Magic));
        let whole = file(&[b"one", b"two"]);
        assert_eq!(frames(&whole[..whole.len() - 1]), Err(Error::Cut(2)));
        let mut wifi = whole;
        wifi[20] = 105;
        assert_eq!(frames(&wifi), Err(Error::LinkType(105)));
    }
}
