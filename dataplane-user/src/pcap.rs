//! Which frames are in a capture file? (libpcap's format, version 2.4.)

use thiserror::Error;

/// Why a file is no capture that can be traced.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum Error {
    /// The first word is that of the format's successor.
    #[error("it is pcapng; `tcpdump -r FILE -w NEW.pcap` makes a pcap file of it")]
    Next,
    /// The first word is no pcap's.
    #[error("it is no pcap file")]
    Magic,
    /// Frames of another link.
    #[error(
        "it is of link type {0}, and only Ethernet (1) can be traced; `tcpdump -i any` \
         captures no Ethernet, at a single interface it does"
    )]
    LinkType(u32),
    /// Something is missing at the end.
    #[error("the file ends inside frame {0}")]
    Cut(usize),
}

/// What was captured of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its first bytes, or all.
    pub bytes: Vec<u8>,
    /// How long it was.
    pub wire_bytes: usize,
}

/// The longest frame that is taken: a GSO packet.
const FRAME_BYTES_MAX: usize = 262_144;
const ETHERNET: u32 = 1;

/// The frames of the file, in order; an error comes after those that were read before it.
pub fn frames(file: &[u8]) -> Result<Vec<Result<Frame, Error>>, Error> {
    let word = |at: usize| -> Option<[u8; 4]> { file.get(at..at + 4)?.try_into().ok() };
    let magic = word(0).ok_or(Error::Magic)?;
    // Micro- and nanoseconds, of either byte order.
    let number: fn([u8; 4]) -> u32 = match u32::from_le_bytes(magic) {
        0xa1b2_c3d4 | 0xa1b2_3c4d => u32::from_le_bytes,
        0xd4c3_b2a1 | 0x4d3c_b2a1 => u32::from_be_bytes,
        0x0a0d_0d0a => return Err(Error::Next),
        _ => return Err(Error::Magic),
    };
    let link_type = number(word(20).ok_or(Error::Magic)?) & 0xffff;
    if link_type != ETHERNET {
        return Err(Error::LinkType(link_type));
    }
    let (mut frames, mut at) = (Vec::new(), 24);
    while at < file.len() {
        let length = |at| word(at).map(|length| number(length) as usize);
        let frame = length(at + 8).zip(length(at + 12)).and_then(|(bytes, wire_bytes)| {
            let bytes = file.get(at + 16..at.checked_add(16 + bytes)?)?.to_vec();
            (bytes.len() <= FRAME_BYTES_MAX).then_some(Frame { bytes, wire_bytes })
        });
        let Some(frame) = frame else {
            frames.push(Err(Error::Cut(frames.len() + 1)));
            break;
        };
        at += 16 + frame.bytes.len();
        frames.push(Ok(frame));
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

    fn whole(frame: &[u8]) -> Result<Frame, Error> {
        Ok(Frame { bytes: frame.to_vec(), wire_bytes: frame.len() })
    }

    #[test]
    fn frames_come_back() {
        let read = frames(&file(&[b"one", b"", b"three"])).unwrap();
        assert_eq!(read, [whole(b"one"), whole(b""), whole(b"three")]);
        assert_eq!(frames(&file(&[])), Ok(Vec::new()));
        let mut partial = file(&[b"one"]);
        partial[36] = 200;
        let frame = Frame { bytes: b"one".to_vec(), wire_bytes: 200 };
        assert_eq!(frames(&partial), Ok(vec![Ok(frame)]));
    }

    #[test]
    fn what_is_no_capture_is_refused() {
        assert_eq!(frames(b""), Err(Error::Magic));
        assert_eq!(frames(&[0; 24]), Err(Error::Magic));
        assert_eq!(frames(&0x0a0d_0d0a_u32.to_le_bytes()), Err(Error::Next));
        let mut wifi = file(&[b"one", b"two"]);
        wifi[20] = 105;
        assert_eq!(frames(&wifi), Err(Error::LinkType(105)));
    }

    #[test]
    fn what_is_before_a_cut_is_read() {
        let full = file(&[b"one", b"two"]);
        for cut in 1..19 {
            let read = frames(&full[..full.len() - cut]);
            assert_eq!(read, Ok(vec![whole(b"one"), Err(Error::Cut(2))]), "{cut}");
        }
    }
}
