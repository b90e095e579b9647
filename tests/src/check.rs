//! Is a frame well-formed, lengths and checksums included?
//!
//! Written from the RFCs alone and sharing nothing with the pipeline, so that one
//! mistake is not made twice.

/// The Internet checksum as RFC 1071 states it.
#[must_use]
pub fn checksum(bytes: &[u8]) -> [u8; 2] {
    (!sum(bytes)).to_be_bytes()
}

/// The ones'-complement sum of 16-bit words in network order.
fn sum(bytes: &[u8]) -> u16 {
    let mut sum = 0_u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// Writes the checksum that an IPv4 header has to have.
pub fn mend(frame: &mut [u8]) {
    let l3 = l3(frame);
    let header = frame.get(l3).map_or(0, |first| usize::from(first & 15) * 4);
    if header >= 20 && frame[l3] >> 4 == 4 && frame.len() >= l3 + header {
        frame[l3 + 10..l3 + 12].fill(0);
        let sum = checksum(&frame[l3..l3 + header]);
        frame[l3 + 10..l3 + 12].copy_from_slice(&sum);
    }
}

/// Where a frame's TCP or UDP checksum is, and the sum of its pseudo-header.
pub struct TransportChecksum {
    /// Where the sum begins.
    pub start: usize,
    /// Where it is written.
    pub field: usize,
    /// What a sender writes there that leaves the rest to a device.
    pub pseudo_sum: [u8; 2],
}

/// Of a whole TCP or UDP packet.
#[must_use]
pub fn transport_checksum(frame: &[u8]) -> Option<TransportChecksum> {
    let ip = network(frame).ok()?;
    let offset = match ip.protocol {
        6 if ip.payload.len() >= 20 => 16,
        17 if word(ip.payload, 4) == Ok(ip.payload.len() as u16)
            && word(ip.payload, 6) != Ok(0) =>
        {
            6
        }
        _ => return None,
    };
    if ip.is_fragment || frame.len() > ip.at + ip.payload.len() {
        return None;
    }
    let pseudo_sum = sum(&ip.pseudo_header()).to_be_bytes();
    Some(TransportChecksum { start: ip.at, field: ip.at + offset, pseudo_sum })
}

/// Bytes of all headers of a TCP or UDP packet, from the Ethernet header on, without tags.
#[must_use]
pub fn header_bytes(frame: &[u8]) -> Option<u32> {
    let ip = network(frame).ok()?;
    let transport = match ip.protocol {
        6 => usize::from(*ip.payload.get(12)? >> 4) * 4,
        17 => 8,
        _ => return None,
    };
    Some((ip.at - tags(frame).len() * 4 + transport) as u32)
}

/// The VLANs of a frame's tags, the service tag's above the customer tag's; 0: it is untagged.
#[must_use]
pub fn vlans(frame: &[u8]) -> u32 {
    tags(frame).iter().fold(0, |vlans, tci| vlans << 16 | u32::from(tci & 0x0fff))
}

/// Where the network header begins.
#[must_use]
pub fn l3(frame: &[u8]) -> usize {
    14 + tags(frame).len() * 4
}

/// The frame without its tags.
#[must_use]
pub fn untagged(frame: &[u8]) -> Vec<u8> {
    [&frame[..12], &frame[12 + tags(frame).len() * 4..]].concat()
}

/// What the tags before the EtherType say, at most two of them.
fn tags(frame: &[u8]) -> Vec<u16> {
    let tag = |at: usize| match word(frame, at) {
        Ok(0x8100 | 0x88a8) => word(frame, at + 2).ok(),
        _ => None,
    };
    [12, 16].into_iter().map_while(tag).collect()
}

/// Looks at everything that a receiver would refuse.
pub fn well_formed(frame: &[u8]) -> Result<(), String> {
    if frame.len() < 14 {
        return Err(format!("{} bytes are no frame", frame.len()));
    }
    if ethertype(frame).1 == 0x0806 {
        return Ok(());
    }
    let ip = network(frame)?;
    if ip.is_fragment {
        return Ok(());
    }
    let bytes = ip.payload.len();
    let whole = |payload: &[u8], name: &str| {
        let mut summed = ip.pseudo_header();
        summed.extend_from_slice(payload);
        if sum(&summed) == 0xffff { Ok(()) } else { Err(format!("{name} checksum")) }
    };
    match ip.protocol {
        6 => {
            let header = usize::from(*ip.payload.get(12).ok_or("TCP cut short")? >> 4) * 4;
            if header < 20 || header > bytes {
                return Err(format!("TCP header of {header} in {bytes}"));
            }
            whole(ip.payload, "TCP")
        }
        17 => {
            let stated = usize::from(word(ip.payload, 4)?);
            if stated < 8 || stated > bytes {
                return Err(format!("UDP of {stated} in {bytes}"));
            }
            if ip.payload[6..8] == [0, 0] && !ip.is_v6 {
                return Ok(());
            }
            let mut summed = ip.pseudo_header();
            let at = summed.len();
            // The length in the pseudo-header is UDP's own (RFC 768, RFC 8200 section 8.1).
            let length = (stated as u32).to_be_bytes();
            if ip.is_v6 {
                summed[at - 8..at - 4].copy_from_slice(&length);
            } else {
                summed[at - 2..].copy_from_slice(&length[2..]);
            }
            summed.extend_from_slice(&ip.payload[..stated]);
            if sum(&summed) == 0xffff { Ok(()) } else { Err("UDP checksum".into()) }
        }
        1 if !ip.is_v6 => {
            if bytes < 8 || sum(ip.payload) != 0xffff {
                return Err("ICMP checksum".into());
            }
            Ok(())
        }
        58 if ip.is_v6 => whole(ip.payload, "ICMPv6"),
        _ => Ok(()),
    }
}

struct Network<'f> {
    is_v6: bool,
    protocol: u8,
    src: &'f [u8],
    dst: &'f [u8],
    is_fragment: bool,
    at: usize,
    payload: &'f [u8],
}

impl Network<'_> {
    fn pseudo_header(&self) -> Vec<u8> {
        let length = (self.payload.len() as u32).to_be_bytes();
        let mut bytes = [self.src, self.dst].concat();
        if self.is_v6 {
            bytes.extend(length);
            bytes.extend([0, 0, 0, self.protocol]);
        } else {
            bytes.extend([0, self.protocol, length[2], length[3]]);
        }
        bytes
    }
}

/// Where the network header begins, and what the frame says that it is.
fn ethertype(frame: &[u8]) -> (usize, u16) {
    let l3 = l3(frame);
    (l3, word(frame, l3 - 2).unwrap_or(0))
}

fn word(bytes: &[u8], at: usize) -> Result<u16, String> {
    let pair = bytes.get(at..at + 2).ok_or(format!("nothing at {at}"))?;
    Ok(u16::from_be_bytes([pair[0], pair[1]]))
}

fn network(frame: &[u8]) -> Result<Network<'_>, String> {
    let (l3, ethertype) = ethertype(frame);
    match ethertype {
        0x0800 => network_v4(frame, l3),
        0x86dd => network_v6(frame, l3),
        other => Err(format!("EtherType {other:04x}")),
    }
}

fn network_v4(frame: &[u8], l3: usize) -> Result<Network<'_>, String> {
    let ip = &frame[l3..];
    let header = usize::from(*ip.first().ok_or("no IPv4")? & 15) * 4;
    let total = usize::from(word(ip, 2)?);
    if ip[0] >> 4 != 4 || header < 20 || header > total || total > ip.len() {
        return Err(format!("IPv4 {:02x}: {header} of {total} in {}", ip[0], ip.len()));
    }
    if sum(&ip[..header]) != 0xffff {
        return Err("IPv4 checksum".into());
    }
    Ok(Network {
        is_v6: false,
        protocol: ip[9],
        src: &ip[12..16],
        dst: &ip[16..20],
        is_fragment: word(ip, 6)? & 0x3fff != 0,
        at: l3 + header,
        payload: &ip[header..total],
    })
}

fn network_v6(frame: &[u8], l3: usize) -> Result<Network<'_>, String> {
    let ip = &frame[l3..];
    if ip.len() < 40 || ip[0] >> 4 != 6 {
        return Err(format!("IPv6 in {}", ip.len()));
    }
    let end = 40 + usize::from(word(ip, 4)?);
    if end > ip.len() {
        return Err(format!("IPv6 of {end} in {}", ip.len()));
    }
    let (mut next, mut at, mut is_fragment) = (ip[6], 40, false);
    while matches!(next, 0 | 43 | 44 | 60) {
        let header = ip.get(at..at + 8).ok_or("extension cut short")?;
        if next == 44 {
            is_fragment |= word(header, 2)? & 0xfff9 != 0;
            at += 8;
        } else {
            at += (usize::from(header[1]) + 1) * 8;
        }
        next = header[0];
        if at > end {
            return Err("extension past the end".into());
        }
    }
    Ok(Network {
        is_v6: true,
        protocol: next,
        src: &ip[8..24],
        dst: &ip[24..40],
        is_fragment,
        at: l3 + at,
        payload: &ip[at..end],
    })
}
