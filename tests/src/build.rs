//! How is a frame made, right by default and wrong where a test wants it?
//!
//! ```
//! use sekisho_tests::build::Frame;
//! let frame = Frame::new([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
//!     .ip("10.1.0.5", "10.1.0.6")
//!     .udp(1000, 53)
//!     .payload(b"question");
//! assert_eq!(frame.build().len(), 14 + 20 + 8 + 8);
//! ```

use std::net::IpAddr;

use crate::check::checksum;

/// A frame in the making; [`build`](Self::build) makes its bytes.
#[derive(Clone, Debug)]
pub struct Frame {
    src: [u8; 6],
    dst: [u8; 6],
    tags: Vec<[u8; 4]>,
    ethertype: Option<u16>,
    ip: Option<(IpAddr, IpAddr)>,
    tos: u8,
    ttl: u8,
    id: u16,
    fragment: u16,
    options: Vec<u8>,
    extensions: Vec<(u8, Vec<u8>)>,
    length: Option<u16>,
    protocol: u8,
    transport: Vec<u8>,
    checksum_at: Option<usize>,
    payload: Vec<u8>,
    cut: Option<usize>,
    padding: Vec<u8>,
    patches: Vec<(Base, usize, Vec<u8>)>,
}

#[derive(Clone, Copy, Debug)]
enum Base {
    Network,
    Transport,
}

/// TCP flags.
pub mod tcp {
    #![expect(missing_docs, reason = "the names are the RFC's")]
    pub const FIN: u8 = 1;
    pub const SYN: u8 = 2;
    pub const RST: u8 = 4;
    pub const ACK: u8 = 16;
}

impl Frame {
    /// From one MAC to another.
    #[must_use]
    pub fn new(src: [u8; 6], dst: [u8; 6]) -> Self {
        Self {
            src,
            dst,
            tags: Vec::new(),
            ethertype: None,
            ip: None,
            tos: 0,
            ttl: 64,
            id: 0,
            fragment: 0,
            options: Vec::new(),
            extensions: Vec::new(),
            length: None,
            protocol: 253,
            transport: Vec::new(),
            checksum_at: None,
            payload: Vec::new(),
            cut: None,
            padding: Vec::new(),
            patches: Vec::new(),
        }
    }

    /// Other MACs.
    #[must_use]
    pub fn eth(mut self, src: [u8; 6], dst: [u8; 6]) -> Self {
        (self.src, self.dst) = (src, dst);
        self
    }

    /// What another frame carries, with these MACs and tags.
    #[must_use]
    pub fn like(self, other: &Self) -> Self {
        Self { src: self.src, dst: self.dst, tags: self.tags, ..other.clone() }
    }

    /// One more customer tag, inside those before.
    #[must_use]
    pub fn vlan(self, tci: u16) -> Self {
        self.tag(0x8100, tci)
    }

    /// The tags of these VLANs: a service tag, if one stands above, and a customer tag.
    #[must_use]
    pub fn vlans(self, vlans: u32) -> Self {
        match ((vlans >> 16) as u16, vlans as u16) {
            (0, 0) => self,
            (0, vlan) => self.vlan(vlan),
            (service, vlan) => self.tag(0x88a8, service).vlan(vlan),
        }
    }

    /// One more tag of this protocol.
    #[must_use]
    pub fn tag(mut self, protocol: u16, tci: u16) -> Self {
        let ([a, b], [c, d]) = (protocol.to_be_bytes(), tci.to_be_bytes());
        self.tags.push([a, b, c, d]);
        self
    }

    /// Without tags.
    #[must_use]
    pub fn untagged(mut self) -> Self {
        self.tags.clear();
        self
    }

    /// Not what the content says.
    #[must_use]
    pub const fn ethertype(mut self, ethertype: u16) -> Self {
        self.ethertype = Some(ethertype);
        self
    }

    /// IPv4 or IPv6, as the addresses are.
    #[must_use]
    pub fn ip(mut self, src: &str, dst: &str) -> Self {
        self.ip = Some((ip(src), ip(dst)));
        self
    }

    /// TTL or hop limit.
    #[must_use]
    pub const fn ttl(mut self, hops: u8) -> Self {
        self.ttl = hops;
        self
    }

    /// Type of service, or traffic class.
    #[must_use]
    pub const fn tos(mut self, tos: u8) -> Self {
        self.tos = tos;
        self
    }

    /// IPv4: may not be fragmented.
    #[must_use]
    pub const fn whole(mut self) -> Self {
        self.fragment |= 0x4000;
        self
    }

    /// IPv4: a piece of a datagram.
    #[must_use]
    pub const fn fragment(mut self, offset_bytes: u16, more: bool) -> Self {
        self.fragment = (offset_bytes / 8) | if more { 0x2000 } else { 0 };
        self
    }

    /// Bytes of its transport header and payload.
    #[must_use]
    pub const fn carried_bytes(&self) -> usize {
        self.transport.len() + self.payload.len()
    }

    /// Bytes `from` to `to` of what it carries, as a fragment: the last one if that is where
    /// the datagram ends.
    #[must_use]
    pub fn piece(&self, id: u32, from: usize, to: usize) -> Self {
        let segment = self.segment();
        let is_more = to < segment.len();
        let mut piece = Self {
            transport: Vec::new(),
            checksum_at: None,
            payload: segment[from..to].to_vec(),
            ..self.clone()
        };
        if matches!(self.ip, Some((IpAddr::V4(_), _))) {
            piece.id = id as u16;
            return piece.fragment(from as u16, is_more);
        }
        let ([a, b], [c, d, e, f]) =
            ((from as u16 | u16::from(is_more)).to_be_bytes(), id.to_be_bytes());
        piece.extension(44, &[0, a, b, c, d, e, f])
    }

    /// IPv4 options, a multiple of four bytes.
    #[must_use]
    pub fn options(mut self, options: &[u8]) -> Self {
        self.options = options.to_vec();
        self
    }

    /// IPv6: one more extension header; `body` is what follows the next header field.
    #[must_use]
    pub fn extension(mut self, kind: u8, body: &[u8]) -> Self {
        self.extensions.push((kind, body.to_vec()));
        self
    }

    /// IPv6: a fragment header.
    #[must_use]
    pub fn fragment_v6(self, offset_bytes: u16, more: bool) -> Self {
        let [a, b] = (offset_bytes | u16::from(more)).to_be_bytes();
        self.extension(44, &[0, a, b, 0, 0, 0, 7])
    }

    /// What the IP header says of the length, be it true or not.
    #[must_use]
    pub const fn length(mut self, bytes: u16) -> Self {
        self.length = Some(bytes);
        self
    }

    /// Another protocol, without a header that we know.
    #[must_use]
    pub fn protocol(mut self, number: u8) -> Self {
        self.protocol = number;
        self
    }

    /// A TCP segment.
    #[must_use]
    pub fn tcp(self, src: u16, dst: u16, flags: u8, seq: u32, ack: u32) -> Self {
        let mut header = ports(src, dst);
        header.extend(seq.to_be_bytes());
        header.extend(ack.to_be_bytes());
        header.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        self.transport(6, header, Some(16))
    }

    /// The window that a TCP segment offers, as it is in the header.
    #[must_use]
    pub fn window(mut self, window: u16) -> Self {
        self.transport[14..16].copy_from_slice(&window.to_be_bytes());
        self
    }

    /// TCP options, a multiple of four bytes.
    #[must_use]
    pub fn tcp_options(mut self, options: &[u8]) -> Self {
        self.transport.extend_from_slice(options);
        self.transport[12] = (self.transport.len() as u8 / 4) << 4;
        self
    }

    /// A UDP datagram.
    #[must_use]
    pub fn udp(self, src: u16, dst: u16) -> Self {
        let mut header = ports(src, dst);
        header.extend([0; 4]);
        self.transport(17, header, Some(6))
    }

    /// An ICMP or ICMPv6 message, as the addresses are.
    #[must_use]
    pub fn icmp(self, kind: u8, code: u8, rest: [u8; 4]) -> Self {
        let [a, b, c, d] = rest;
        let is_v6 = matches!(self.ip, Some((IpAddr::V6(_), _)));
        self.transport(if is_v6 { 58 } else { 1 }, vec![kind, code, 0, 0, a, b, c, d], Some(2))
    }

    /// Another transport header.
    #[must_use]
    pub fn transport(mut self, protocol: u8, header: Vec<u8>, checksum_at: Option<usize>) -> Self {
        (self.protocol, self.transport, self.checksum_at) = (protocol, header, checksum_at);
        self
    }

    /// What follows the headers.
    #[must_use]
    pub fn payload(mut self, payload: &[u8]) -> Self {
        self.payload = payload.to_vec();
        self
    }

    /// What follows the IP packet.
    #[must_use]
    pub fn padding(mut self, padding: &[u8]) -> Self {
        self.padding = padding.to_vec();
        self
    }

    /// The frame ends after so many bytes, whatever its headers say.
    #[must_use]
    pub const fn cut(mut self, bytes: usize) -> Self {
        self.cut = Some(bytes);
        self
    }

    /// Other bytes at an offset of the network header, checksums notwithstanding.
    #[must_use]
    pub fn patch_network(mut self, at: usize, bytes: &[u8]) -> Self {
        self.patches.push((Base::Network, at, bytes.to_vec()));
        self
    }

    /// The same of the transport header.
    #[must_use]
    pub fn patch_transport(mut self, at: usize, bytes: &[u8]) -> Self {
        self.patches.push((Base::Transport, at, bytes.to_vec()));
        self
    }

    /// An ARP packet.
    #[must_use]
    pub fn arp(mut self, operation: u8, src: ([u8; 6], &str), dst: ([u8; 6], &str)) -> Self {
        let mut arp = vec![0, 1, 8, 0, 6, 4, 0, operation];
        for (mac, addr) in [src, dst] {
            arp.extend(mac);
            arp.extend(bytes(ip(addr)));
        }
        self.payload = arp;
        self.ethertype = Some(0x0806);
        self
    }

    /// A neighbour solicitation (135) or advertisement (136) with one address option.
    #[must_use]
    pub fn neighbour(
        self,
        kind: u8,
        flags: u8,
        target: &str,
        option: Option<(u8, [u8; 6])>,
    ) -> Self {
        let mut payload = bytes(ip(target));
        if let Some((option, mac)) = option {
            payload.extend([option, 1]);
            payload.extend(mac);
        }
        self.ttl(255).icmp(kind, 0, [flags, 0, 0, 0]).payload(&payload)
    }

    /// The IP packet's bytes alone: what an ICMP error quotes.
    #[must_use]
    pub fn packet(&self) -> Vec<u8> {
        self.clone().untagged().build()[14..].to_vec()
    }

    /// The frame's bytes.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        let mut frame = [self.dst, self.src].concat();
        frame.extend(self.tags.iter().flatten());
        let own = match self.ip {
            Some((IpAddr::V4(_), _)) => 0x0800,
            Some((IpAddr::V6(_), _)) => 0x86dd,
            None => 0x88b5,
        };
        frame.extend(self.ethertype.unwrap_or(own).to_be_bytes());
        let network = frame.len();
        let header = self.header();
        frame.extend(&header);
        let transport = frame.len();
        frame.extend(self.segment());
        frame.extend(&self.padding);
        for (base, at, bytes) in &self.patches {
            let at = at + if matches!(base, Base::Network) { network } else { transport };
            frame[at..at + bytes.len()].copy_from_slice(bytes);
        }
        frame.truncate(self.cut.unwrap_or(usize::MAX));
        frame
    }

    /// Network header and extensions.
    fn header(&self) -> Vec<u8> {
        let content = self.transport.len() + self.payload.len();
        match self.ip {
            Some((src @ IpAddr::V4(_), dst)) => {
                let header_bytes = 20 + self.options.len();
                let total = self.length.unwrap_or((header_bytes + content) as u16);
                let mut header = vec![0x40 | (header_bytes / 4) as u8, self.tos];
                header.extend(total.to_be_bytes());
                header.extend(self.id.to_be_bytes());
                header.extend(self.fragment.to_be_bytes());
                header.extend([self.ttl, self.protocol, 0, 0]);
                header.extend(bytes(src));
                header.extend(bytes(dst));
                header.extend(&self.options);
                let sum = checksum(&header);
                header[10..12].copy_from_slice(&sum);
                header
            }
            Some((src, dst)) => {
                let chain: usize = self.extensions.iter().map(|(_, body)| body.len() + 1).sum();
                let length = self.length.unwrap_or((chain + content) as u16);
                let mut header = vec![0x60 | self.tos >> 4, self.tos << 4, 0, 0];
                header.extend(length.to_be_bytes());
                let mut kinds = self.extensions.iter().map(|(kind, _)| *kind).collect::<Vec<_>>();
                kinds.push(self.protocol);
                header.extend([kinds[0], self.ttl]);
                header.extend(bytes(src));
                header.extend(bytes(dst));
                for ((_, body), next) in self.extensions.iter().zip(&kinds[1..]) {
                    header.push(*next);
                    header.extend(body);
                }
                header
            }
            None => Vec::new(),
        }
    }

    /// Transport header and payload.
    fn segment(&self) -> Vec<u8> {
        let mut segment = [&self.transport[..], &self.payload].concat();
        let length = (segment.len() as u32).to_be_bytes();
        if self.protocol == 17 && self.transport.len() == 8 {
            segment[4..6].copy_from_slice(&length[2..]);
        }
        let (Some(at), Some((src, dst))) = (self.checksum_at, self.ip) else { return segment };
        let mut summed = Vec::new();
        if self.protocol != 1 {
            summed.extend(bytes(src));
            summed.extend(bytes(dst));
            summed.extend(length);
            summed.extend([0, 0, 0, self.protocol]);
        }
        summed.extend(&segment);
        let mut sum = checksum(&summed);
        if self.protocol == 17 && sum == [0, 0] {
            sum = [0xff, 0xff];
        }
        segment[at..at + 2].copy_from_slice(&sum);
        segment
    }
}

fn ports(src: u16, dst: u16) -> Vec<u8> {
    [src.to_be_bytes(), dst.to_be_bytes()].concat()
}

/// The address that the text names; a test's text always does.
#[must_use]
pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap_or_else(|_| panic!("{text} is no address"))
}

fn bytes(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(addr) => addr.octets().to_vec(),
        IpAddr::V6(addr) => addr.octets().to_vec(),
    }
}
