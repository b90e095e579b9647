//! Which of many frames come out at the other side of the router?
//!
//! After the frames a marker goes each way, which the rules always let through. What has not
//! arrived before the marker never will: nothing waits for time to pass.

use std::collections::HashMap;

use anyhow::{Context, Result, bail};
use sekisho_tests::{build::Frame, lab::Wire, process::PATIENCE};

use super::{
    linux::{HOST, ROUTER},
    segment::{Segment, Side, addrs},
};

/// Frames before a marker: far less than the kernel lets wait (net.core.netdev_max_backlog).
pub const FRAMES_MAX: usize = 200;

const ETHERNET_BYTES: usize = 14;
const MARKER_PORT: u16 = 9;

/// A frame on its way.
pub struct Sent {
    from: Side,
    bytes: Vec<u8>,
}

impl Sent {
    pub fn new(segment: &Segment, is_v6: bool, port: u16) -> Self {
        let at = segment.from as usize;
        let bytes = segment.frame(is_v6, port, HOST[at], ROUTER[at]).build();
        Self { from: segment.from, bytes }
    }
}

/// Sends the frames and tells of each whether it arrived.
pub fn pass(wires: &mut [Wire; 2], frames: &[Sent], number: u64) -> Result<Vec<bool>> {
    let mut arrived = vec![false; frames.len()];
    let mut expected = [HashMap::new(), HashMap::new()];
    for (index, frame) in frames.iter().enumerate() {
        let transport = transport(&frame.bytes).context("a frame without IP")?;
        expected[frame.from.other() as usize].insert(transport, index);
        wires[frame.from as usize].send(&frame.bytes)?;
    }
    for from in [Side::Opener, Side::Responder] {
        wires[from as usize].send(&marker(from, number))?;
    }
    for at in [Side::Opener, Side::Responder] {
        while let Some(bytes) = wires[at as usize].receive(PATIENCE)? {
            if is_marker(&bytes, number) {
                break;
            }
            let Some(transport) = transport(&bytes).filter(|(protocol, _)| *protocol == 6) else {
                continue;
            };
            match expected[at as usize].remove(&transport) {
                Some(index) => arrived[index] = true,
                None => bail!("nobody sent this, or it comes late: {bytes:02x?}"),
            }
        }
    }
    Ok(arrived)
}

fn marker(from: Side, number: u64) -> Vec<u8> {
    let (opener, responder) = addrs(false);
    let at = from as usize;
    let (src, dst) = if from == Side::Opener { (opener, responder) } else { (responder, opener) };
    let frame = Frame::new(HOST[at], ROUTER[at]).ip(src, dst).udp(MARKER_PORT, MARKER_PORT);
    frame.payload(&number.to_be_bytes()).build()
}

fn is_marker(frame: &[u8], number: u64) -> bool {
    const UDP: u8 = 17;
    const UDP_BYTES: usize = 8;
    transport(frame).is_some_and(|(protocol, bytes)| {
        protocol == UDP && bytes.get(UDP_BYTES..) == Some(&number.to_be_bytes())
    })
}

/// Protocol and content of an IP packet without options: a router changes neither.
fn transport(frame: &[u8]) -> Option<(u8, Vec<u8>)> {
    let (ip, protocol_at, header_bytes) = match frame.get(12..ETHERNET_BYTES)? {
        [8, 0] => (frame.get(ETHERNET_BYTES..)?, 9, 20),
        [0x86, 0xdd] => (frame.get(ETHERNET_BYTES..)?, 6, 40),
        _ => return None,
    };
    Some((*ip.get(protocol_at)?, ip.get(header_bytes..)?.to_vec()))
}
