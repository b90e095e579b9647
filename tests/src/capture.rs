//! What did a host receive, and was every frame of it well-formed?
//!
//! A capture has what arrived at the host's end of its cable, and not what the host sent. It is
//! taken by the lab itself rather than by tcpdump, for two reasons: a capture that is stopped
//! has every frame that had arrived, without waiting for good measure; and only the socket
//! tells whether a checksum is partial.
//!
//! # Partial checksums
//! Between veths, a TCP or UDP frame of a sender with default offloads has no checksum yet: the
//! skb is CHECKSUM_PARTIAL and the field has the sum of the pseudo header, for a NIC to finish.
//! The receiving kernel does not look at it, so a rewrite that spoils it goes unnoticed until
//! the frame leaves by a real NIC. tshark 4.0 cannot tell: a partial checksum and a wrong one
//! both have `checksum.status` 0 (bad), the expert message "Bad checksum [should be …]" and the
//! text "maybe caused by checksum offload". Nor could anything that has only the file: a frame
//! that lost its mark on the way (XDP redirect does that) has the same bytes as one that kept it.
//!
//! So frames that the kernel marks as partial, and only those, are finished here as a NIC would
//! finish them, from where the kernel says to where the kernel says. If the pseudo header's sum
//! was right the checksum is right now; if it was not, the checksum is wrong now; and tshark
//! judges all frames alike. A pseudo header's sum without the mark stays as it is, and is bad.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::lab::Host;
use crate::process::run_here;
use crate::sys::{Arrived, PacketSocket};

/// A capture with more frames than this is a mistake in the test.
const FRAMES_MAX: usize = 1 << 20;

/// A frame as it would be on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// From the destination MAC on, tag included.
    pub bytes: Vec<u8>,
    /// Whether the kernel had marked its checksum as partial.
    pub partial: bool,
}

/// A capture that is going on; it ends when dropped.
#[derive(Debug)]
pub struct Capture {
    path: PathBuf,
    taken: Arc<Taken>,
    thread: Option<JoinHandle<Result<()>>>,
}

#[derive(Debug, Default)]
struct Taken {
    frames: Mutex<Vec<Frame>>,
    more: Condvar,
    stop: AtomicBool,
}

impl Capture {
    /// Captures what arrives at a host, tags included, from the return of this function on.
    pub fn start(host: &Host) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = host.folder().join(format!("{}-{number}.pcap", host.name()));
        let socket = host.in_ns(|| PacketSocket::for_receiving(host.link()))??;
        let taken = Arc::new(Taken::default());
        let thread = thread::spawn({
            let taken = Arc::clone(&taken);
            move || take(socket, &taken)
        });
        Ok(Self { path, taken, thread: Some(thread) })
    }

    /// The first frame for which `wanted` holds; waits for it if it has not come yet.
    pub fn wait_for(&self, within: Duration, wanted: impl Fn(&Frame) -> bool) -> Option<Frame> {
        let deadline = Instant::now() + within;
        let mut frames = self.taken.frames.lock().unwrap_or_else(PoisonError::into_inner);
        let mut seen = 0;
        loop {
            if let Some(frame) = frames.iter().skip(seen).find(|frame| wanted(frame)) {
                return Some(frame.clone());
            }
            seen = frames.len();
            let left = deadline.checked_duration_since(Instant::now())?;
            let waited = self.taken.more.wait_timeout(frames, left);
            frames = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// How many frames came so far for which `wanted` holds.
    pub fn count(&self, wanted: impl Fn(&Frame) -> bool) -> usize {
        let frames = self.taken.frames.lock().unwrap_or_else(PoisonError::into_inner);
        frames.iter().filter(|frame| wanted(frame)).count()
    }

    /// Ends the capture; what had arrived by now is in it.
    pub fn stop(mut self) -> Result<Pcap> {
        self.taken.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("the capture has ended already")?;
        thread.join().map_err(|_panic| anyhow!("the capture panicked"))??;
        let mut frames = self.taken.frames.lock().unwrap_or_else(PoisonError::into_inner);
        Pcap::write(self.path.clone(), std::mem::take(&mut *frames))
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.taken.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Its error matters only to who wanted the frames.
            let _ = thread.join();
        }
    }
}

/// Takes frames until told to stop, and then what had arrived before.
fn take(mut socket: PacketSocket, taken: &Taken) -> Result<()> {
    let mut last = false;
    loop {
        // Asked before the socket is emptied: what arrives before the stop is always taken.
        last |= taken.stop.load(Ordering::Relaxed);
        while let Some(arrived) = socket.receive()? {
            let mut frames = taken.frames.lock().unwrap_or_else(PoisonError::into_inner);
            ensure!(frames.len() < FRAMES_MAX, "a capture of more than {FRAMES_MAX} frames");
            frames.push(finish(arrived));
            drop(frames);
            taken.more.notify_all();
        }
        if last {
            break;
        }
        socket.wait(Duration::from_millis(20))?;
    }
    let lost = socket.lost()?;
    ensure!(lost == 0, "the capture lost {lost} frames");
    Ok(())
}

/// Finishes a partial checksum as a NIC does.
fn finish(arrived: Arrived) -> Frame {
    let Arrived { mut bytes, partial } = arrived;
    if let Some((start, field)) = partial
        && let Some(summed) = bytes.get(start..)
        && let sum = !internet_sum(summed)
        && let Some(place) = bytes.get_mut(field..field + 2)
    {
        // In UDP zero means that there is none (RFC 768); in TCP both zeros are the same.
        let sum = if sum == 0 { 0xffff } else { sum };
        place.copy_from_slice(&sum.to_be_bytes());
    }
    Frame { bytes, partial: partial.is_some() }
}

/// The one's complement sum of RFC 1071, not complemented.
fn internet_sum(bytes: &[u8]) -> u16 {
    let word = |pair: &[u8]| u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]);
    bytes.chunks(2).map(word).fold(0, |sum: u16, word| {
        let (sum, carry) = sum.overflowing_add(word);
        sum + u16::from(carry)
    })
}

/// What is wrong with a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The number of the frame, from 1, as tshark has it.
    pub frame: usize,
    /// What tshark says about it.
    pub what: String,
}

/// A capture that has ended. It can be asked for as long as the lab lives.
#[derive(Debug)]
pub struct Pcap {
    path: PathBuf,
    frames: Vec<Frame>,
}

impl Pcap {
    fn write(path: PathBuf, frames: Vec<Frame>) -> Result<Self> {
        // Magic, version 2.4, zone, accuracy, the longest frame, LINKTYPE_ETHERNET. Time is not
        // kept: each frame is a second after the one before.
        let mut file = Vec::new();
        for word in [0xa1b2_c3d4, 0x0004_0002, 0, 0, 0x4_0000, 1] {
            file.extend(u32::to_le_bytes(word));
        }
        for (second, frame) in (0..).zip(&frames) {
            let length = frame.bytes.len().try_into()?;
            for word in [second, 0, length, length] {
                file.extend(u32::to_le_bytes(word));
            }
            file.extend(&frame.bytes);
        }
        fs::write(&path, file).with_context(|| format!("writing {}", path.display()))?;
        Ok(Self { path, frames })
    }

    /// The frames, in the order in which they arrived.
    pub fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// What is malformed, and which checksums are wrong, according to tshark. An empty capture
    /// is an error: nothing was judged.
    ///
    /// The TCP or UDP checksum in the quote of an ICMP error may be anything: it is the offending
    /// packet's own, nobody verifies it, and Linux itself quotes partial ones.
    pub fn judge(&self) -> Result<Vec<Fault>> {
        ensure!(!self.frames.is_empty(), "nothing was captured, so nothing can be judged");
        let statuses = CHECKSUMS.map(|protocol| format!("{protocol}.checksum.status"));
        let bad = statuses.each_ref().map(|status| format!("{status} == {BAD}")).join(" || ");
        let suspects = format!("_ws.malformed || _ws.expert.severity >= {PI_ERROR} || {bad}");
        let mut fields =
            vec!["frame.number", "_ws.col.Info", "_ws.expert.severity", "_ws.expert.message"];
        fields.extend(statuses.iter().map(String::as_str));
        let rows = self.ask(&suspects, &fields, SEPARATOR)?;
        rows.iter().filter_map(|row| fault(row).transpose()).collect()
    }

    /// For each frame that matches a display filter: the values of these fields, empty where a
    /// frame has none, joined by commas where it has several.
    ///
    /// Nothing above TCP and UDP is looked at: a test's payload is not what its port promises.
    pub fn fields(&self, filter: &str, fields: &[&str]) -> Result<Vec<Vec<String>>> {
        self.ask(filter, fields, ",")
    }

    fn ask(&self, filter: &str, fields: &[&str], separator: &str) -> Result<Vec<Vec<String>>> {
        let aggregator = format!("aggregator={separator}");
        let path = self.path.display().to_string();
        let mut command = vec!["tshark", "-n", "-r", &path, "-Y", filter, "-T", "fields"];
        command.extend(["-E", &aggregator]);
        for option in OPTIONS {
            command.extend(option);
        }
        for field in fields {
            command.extend(["-e", field]);
        }
        let text = run_here(&command)?.ok().context("asking tshark")?;
        Ok(text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect())
    }
}

/// What of a suspect is a fault; the fields are those of [`Pcap::judge`].
fn fault(row: &[String]) -> Result<Option<Fault>> {
    let [frame, info, severities, messages, statuses @ ..] = row else {
        bail!("tshark wrote {row:?}")
    };
    let mut faults = Vec::new();
    for (severity, message) in severities.split(SEPARATOR).zip(messages.split(SEPARATOR)) {
        // What has no expert message has an empty severity; checksums are asked for below.
        let severe = severity.parse::<u32>().is_ok_and(|severity| severity >= PI_ERROR);
        if severe && !message.starts_with("Bad checksum") {
            faults.push(message.to_owned());
        }
    }
    let present: Vec<_> = CHECKSUMS.iter().zip(statuses).filter(|(_, s)| !s.is_empty()).collect();
    // What an ICMP packet has of TCP or UDP is a quote.
    let icmp = present.iter().any(|(protocol, _)| protocol.starts_with("icmp"));
    for (protocol, statuses) in present {
        let quoted = icmp && ["tcp", "udp"].contains(protocol);
        // Linux writes a computed zero as all ones for TCP as well (skb_checksum_help), one
        // segment in 65,536. It is the same number in ones' complement; tshark calls it bad.
        let is_other_zero = *protocol == "tcp" && info.contains("[TCP CHECKSUM 0xFFFF]");
        if !quoted && !is_other_zero && statuses.split(SEPARATOR).any(|status| status == BAD) {
            faults.push(format!("Bad checksum: {protocol}"));
        }
    }
    let what = format!("{info}: {}", faults.join(", "));
    Ok((!faults.is_empty()).then_some(Fault { frame: frame.parse()?, what }))
}

/// The protocols whose checksums are judged, and the status of a wrong one.
const CHECKSUMS: [&str; 6] = ["ip", "icmp", "icmpv6", "igmp", "tcp", "udp"];
const BAD: &str = "0";

/// tshark's severity of malformed packets, lengths beyond the frame and some bad checksums (those
/// of ICMP are only warnings).
const PI_ERROR: u32 = 0x80_0000;

/// A separator that is in no message of tshark's.
const SEPARATOR: &str = "\u{1f}";

/// Checksums are verified, and payload is payload.
const OPTIONS: [[&str; 2]; 5] = [
    ["-o", "ip.check_checksum:TRUE"],
    ["-o", "tcp.check_checksum:TRUE"],
    ["-o", "udp.check_checksum:TRUE"],
    ["-d", "tcp.port==1-65535,data"],
    ["-d", "udp.port==1-65535,data"],
];
