//! How does Linux, as a peer, forget its connections?

use anyhow::{Result, bail};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};
use std::os::fd::AsRawFd;

/// NFNL_SUBSYS_CTNETLINK and IPCTNL_MSG_CT_DELETE, <linux/netfilter/nfnetlink_conntrack.h>.
const DELETE: u16 = 1 << 8 | 2;
/// NLM_F_REQUEST and NLM_F_ACK, <linux/netlink.h>.
const REQUEST_ACK: u16 = 1 | 4;
/// `struct nlmsghdr` and `struct nfgenmsg`.
const BYTES: u32 = 16 + 4;
/// NLMSG_ERROR, which also says that all is well.
const ERROR: u16 = 2;

/// Removes every connection of the calling thread's namespace, as `conntrack -F` does.
pub fn forget() -> Result<()> {
    let netfilter = SockProtocol::NetlinkNetFilter;
    let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, netfilter)?;
    let mut request = Vec::new();
    request.extend(BYTES.to_ne_bytes());
    request.extend(DELETE.to_ne_bytes());
    request.extend(REQUEST_ACK.to_ne_bytes());
    // No sequence, no sender; of every family, and none in particular.
    request.resize(BYTES as usize, 0);
    let kernel = NetlinkAddr::new(0, 0);
    sendto(socket.as_raw_fd(), &request, &kernel, MsgFlags::empty())?;
    let mut answer = [0; 64];
    let length = recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    let (kind, error) = (&answer[4..6], &answer[16..20]);
    if length < 20 || kind != ERROR.to_ne_bytes() || error != [0; 4] {
        bail!("the kernel does not forget its connections: {:x?}", &answer[..length]);
    }
    Ok(())
}
