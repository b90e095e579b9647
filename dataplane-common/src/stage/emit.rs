//! By which interface does it leave, and with which tag?

use crate::packet::Packet;
use crate::stop::Stop;
use crate::tables::{Counter, Note, Tables, note};
use crate::work::{Work, flags};

/// Tags the frame for its way out and counts it there. The binding then sends it
/// to the interface of output [`Work::output`].
#[inline(always)]
pub fn emit<P: Packet, T: Tables>(
    p: &mut P,
    t: &T,
    w: &mut Work,
    counter: Counter,
) -> Result<(), Stop> {
    let output = t.output(w.output).ok_or(Stop::TableMissing)?;
    if output.ifindex == 0 {
        return Err(Stop::OutputAbsent);
    }
    p.set_vlan(output.vlan as u16, w.is(flags::INLINE_TAG))?;
    t.note(Note { what: note::EMIT, id: w.output, detail: output.vlan, zero: 0 });
    t.count(w.output, counter, p.segments(), p.bytes());
    Ok(())
}
