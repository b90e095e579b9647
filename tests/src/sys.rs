//! Which system calls does the lab make that have no safe wrapper? All of them are here.

pub(crate) mod bpf;
mod map;
mod packet;
mod signals;
mod tap;
mod tcp;

pub(crate) use map::{Map, MapKind};
pub(crate) use packet::{Arrived, PacketSocket};
pub(crate) use signals::signals_as_stream;
pub(crate) use tap::open_tap;
pub(crate) use tcp::{TcpState, tcp_state};
