//! How are whole frames sent and received, with what the kernel knows about them?

use std::io;
use std::mem::{MaybeUninit, size_of, size_of_val};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::libc;
use nix::net::if_::if_nametoindex;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// The size of `struct virtio_net_hdr`, which `PACKET_VNET_HDR` puts before each frame.
const VNET: usize = 10;
/// The largest frame of a veth (64 KiB and its headers), with room to spare.
const FRAME: usize = 80 * 1024;
/// How much may wait in the socket while the reader does not run.
const BUFFER: libc::c_int = 64 << 20;

/// A frame and what the kernel said about it.
#[derive(Debug)]
pub(crate) struct Arrived {
    /// From the destination MAC on, with its tag back in its place.
    pub(crate) bytes: Vec<u8>,
    /// For CHECKSUM_PARTIAL: where the sum starts, and where it is to be written.
    pub(crate) partial: Option<(usize, usize)>,
}

/// An AF_PACKET socket on one interface of the calling thread's namespace.
pub(crate) struct PacketSocket {
    fd: OwnedFd,
    buffer: Vec<u8>,
}

impl PacketSocket {
    pub(crate) fn for_sending(interface: &str) -> Result<Self> {
        let socket = Self::open()?;
        socket.bind(interface, 0)?;
        Ok(socket)
    }

    /// Receives what arrives at the interface (and not what it sends), from now on.
    pub(crate) fn for_receiving(interface: &str) -> Result<Self> {
        let mut socket = Self::open()?;
        socket.set(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, BUFFER)?;
        socket.set(libc::SOL_PACKET, libc::PACKET_VNET_HDR, 1)?;
        socket.set(libc::SOL_PACKET, libc::PACKET_AUXDATA, 1)?;
        socket.set(libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, 1)?;
        socket.bind(interface, libc::ETH_P_ALL as u16)?;
        socket.buffer = vec![0; VNET + FRAME];
        Ok(socket)
    }

    fn open() -> Result<Self> {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        #[expect(unsafe_code, reason = "nix knows no packet socket without a protocol")]
        // SAFETY: no pointer is passed; protocol zero receives nothing before the bind.
        let fd = unsafe { libc::socket(libc::AF_PACKET, kind, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error()).context("opening a packet socket");
        }
        #[expect(unsafe_code, reason = "the descriptor gets its owner")]
        // SAFETY: the descriptor is open and nobody else's.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { fd, buffer: Vec::new() })
    }

    fn bind(&self, interface: &str, protocol: u16) -> Result<()> {
        let index =
            if_nametoindex(interface).with_context(|| format!("looking for {interface}"))?;
        let address = libc::sockaddr_ll {
            sll_family: libc::AF_PACKET as u16,
            sll_protocol: protocol.to_be(),
            sll_ifindex: index.try_into()?,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 0,
            sll_addr: [0; 8],
        };
        #[expect(unsafe_code, reason = "nix makes no sockaddr_ll from an index")]
        // SAFETY: the address is a sockaddr_ll of the length that is passed.
        let result = unsafe {
            libc::bind(
                self.fd.as_raw_fd(),
                (&raw const address).cast(),
                size_of_val(&address) as libc::socklen_t,
            )
        };
        if result != 0 {
            return Err(io::Error::last_os_error()).with_context(|| format!("binding {interface}"));
        }
        Ok(())
    }

    fn set(&self, level: libc::c_int, option: libc::c_int, value: libc::c_int) -> Result<()> {
        #[expect(unsafe_code, reason = "nix has no packet socket options")]
        // SAFETY: the value is an int of the length that is passed.
        let result = unsafe {
            libc::setsockopt(
                self.fd.as_raw_fd(),
                level,
                option,
                (&raw const value).cast(),
                size_of_val(&value) as libc::socklen_t,
            )
        };
        if result != 0 {
            return Err(io::Error::last_os_error()).context(format!("packet option {option}"));
        }
        Ok(())
    }

    pub(crate) fn send(&self, frame: &[u8]) -> Result<()> {
        let sent = nix::unistd::write(&self.fd, frame)?;
        anyhow::ensure!(sent == frame.len(), "{sent} of {} bytes were sent", frame.len());
        Ok(())
    }

    /// Waits until a frame can be received, or time is up.
    pub(crate) fn wait(&self, within: Duration) -> Result<()> {
        let mut waiting = [PollFd::new(self.fd.as_fd(), PollFlags::POLLIN)];
        match poll(&mut waiting, PollTimeout::try_from(within)?) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The next frame, if one is there.
    pub(crate) fn receive(&mut self) -> Result<Option<Arrived>> {
        let mut control = [0_u64; 16];
        let mut data =
            libc::iovec { iov_base: self.buffer.as_mut_ptr().cast(), iov_len: self.buffer.len() };
        #[expect(unsafe_code, reason = "nix does not hand out PACKET_AUXDATA")]
        // SAFETY: a msghdr of zeros is valid. Its pointers are to buffers that live through the
        // call, with their lengths; the kernel has filled in the control messages, which CMSG_*
        // walk within msg_controllen, and a tpacket_auxdata is read unaligned after its length
        // was compared.
        let (length, auxiliary) = unsafe {
            let mut message: libc::msghdr = MaybeUninit::zeroed().assume_init();
            message.msg_iov = &raw mut data;
            message.msg_iovlen = 1;
            message.msg_control = control.as_mut_ptr().cast();
            message.msg_controllen = size_of_val(&control) as _;
            let length = libc::recvmsg(self.fd.as_raw_fd(), &raw mut message, 0);
            if length < 0 {
                let error = io::Error::last_os_error();
                let nothing = error.kind() == io::ErrorKind::WouldBlock;
                return if nothing { Ok(None) } else { Err(error.into()) };
            }
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            let wanted = libc::CMSG_LEN(size_of::<libc::tpacket_auxdata>() as u32) as usize;
            let auxiliary = (!header.is_null()
                && (*header).cmsg_type == libc::PACKET_AUXDATA
                && (*header).cmsg_len as usize >= wanted)
                .then(|| libc::CMSG_DATA(header).cast::<libc::tpacket_auxdata>().read_unaligned());
            (usize::try_from(length)?, auxiliary)
        };
        let received = self.buffer.get(..length).context("a frame larger than the buffer")?;
        let auxiliary = auxiliary.context("a frame without PACKET_AUXDATA")?;
        let (vnet, frame) = received.split_at_checked(VNET).context("a frame without a header")?;
        Ok(Some(arrived(vnet, frame, &auxiliary)))
    }

    /// Frames that were lost because nobody read them in time.
    pub(crate) fn lost(&self) -> Result<u32> {
        let mut statistics = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
        let mut length = size_of_val(&statistics) as libc::socklen_t;
        #[expect(unsafe_code, reason = "nix has no packet socket options")]
        // SAFETY: the kernel writes a tpacket_stats, which is what is passed, with its length.
        let result = unsafe {
            libc::getsockopt(
                self.fd.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                (&raw mut statistics).cast(),
                &raw mut length,
            )
        };
        if result != 0 {
            return Err(io::Error::last_os_error()).context("PACKET_STATISTICS");
        }
        Ok(statistics.tp_drops)
    }
}

/// Puts a tag from the metadata back where it is on the wire, and notes a partial checksum.
fn arrived(vnet: &[u8], frame: &[u8], auxiliary: &libc::tpacket_auxdata) -> Arrived {
    let half = |at: usize| usize::from(u16::from_ne_bytes([vnet[at], vnet[at + 1]]));
    // VIRTIO_NET_HDR_F_NEEDS_CSUM; csum_start and csum_offset follow hdr_len and gso_size.
    let mut partial = (vnet[0] & 1 != 0).then(|| (half(6), half(6) + half(8)));
    let mut bytes = frame.to_vec();
    if auxiliary.tp_status & libc::TP_STATUS_VLAN_VALID != 0 && bytes.len() >= 12 {
        let tag = [auxiliary.tp_vlan_tpid.to_be_bytes(), auxiliary.tp_vlan_tci.to_be_bytes()];
        bytes.splice(12..12, tag.concat());
        partial = partial.map(|(start, field)| (start + 4, field + 4));
    }
    Arrived { bytes, partial }
}
