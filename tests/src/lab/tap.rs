//! What does a virtual machine see at its tap?

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::Namespace;
use crate::sys;

/// The size of `struct virtio_net_hdr`.
const HEADER: usize = 10;

/// What goes with a frame between a virtual machine and its tap (`struct virtio_net_hdr`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VnetHeader {
    /// VIRTIO_NET_HDR_F_*.
    pub flags: u8,
    /// VIRTIO_NET_HDR_GSO_*.
    pub gso_type: u8,
    /// How much of the frame is headers.
    pub hdr_len: u16,
    /// The size of a segment.
    pub gso_size: u16,
    /// Where the checksum starts.
    pub csum_start: u16,
    /// Where it is written, from there.
    pub csum_offset: u16,
}

impl VnetHeader {
    /// VIRTIO_NET_HDR_F_NEEDS_CSUM: the frame has a partial checksum.
    pub const NEEDS_CSUM: u8 = 1;

    fn to_bytes(self) -> [u8; HEADER] {
        let [a, b] = self.hdr_len.to_ne_bytes();
        let [c, d] = self.gso_size.to_ne_bytes();
        let [e, f] = self.csum_start.to_ne_bytes();
        let [g, h] = self.csum_offset.to_ne_bytes();
        [self.flags, self.gso_type, a, b, c, d, e, f, g, h]
    }

    fn from_bytes([flags, gso_type, a, b, c, d, e, f, g, h]: [u8; HEADER]) -> Self {
        Self {
            flags,
            gso_type,
            hdr_len: u16::from_ne_bytes([a, b]),
            gso_size: u16::from_ne_bytes([c, d]),
            csum_start: u16::from_ne_bytes([e, f]),
            csum_offset: u16::from_ne_bytes([g, h]),
        }
    }
}

/// The virtual machine's side of a tap in the device under test. The tap goes with it.
#[derive(Debug)]
pub struct Tap {
    file: File,
}

impl Tap {
    pub(super) fn open(dut: &Namespace, interface: &str) -> Result<Self> {
        let file = dut.in_ns(|| sys::open_tap(interface))??;
        dut.run(&["ip", "link", "set", interface, "up"])?.ok()?;
        dut.wait_until_up(interface)?;
        Ok(Self { file })
    }

    /// Sends a frame as the virtual machine would.
    pub fn send(&self, header: VnetHeader, frame: &[u8]) -> Result<()> {
        let message = [&header.to_bytes(), frame].concat();
        let sent = (&self.file).write(&message).context("writing to the tap")?;
        anyhow::ensure!(sent == message.len(), "{sent} of {} bytes were sent", message.len());
        Ok(())
    }

    /// The first frame within a time for which `wanted` holds; others are left out.
    pub fn receive(
        &self,
        within: Duration,
        wanted: impl Fn(&[u8]) -> bool,
    ) -> Result<Option<(VnetHeader, Vec<u8>)>> {
        let deadline = Instant::now() + within;
        let mut buffer = vec![0; HEADER + 0x1_0000];
        loop {
            match (&self.file).read(&mut buffer) {
                Ok(length) => {
                    let received = buffer.get(..length).context("a frame beyond the buffer")?;
                    let (header, frame) =
                        received.split_first_chunk().context("a frame without its header")?;
                    if wanted(frame) {
                        return Ok(Some((VnetHeader::from_bytes(*header), frame.to_vec())));
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    let mut waiting = [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)];
                    match poll(&mut waiting, PollTimeout::try_from(left)?) {
                        Ok(0) => return Ok(None),
                        Ok(_) | Err(Errno::EINTR) => {}
                        Err(error) => bail!("waiting at the tap: {error}"),
                    }
                }
                Err(error) => return Err(error).context("reading from the tap"),
            }
            if Instant::now() > deadline {
                return Ok(None);
            }
        }
    }
}
