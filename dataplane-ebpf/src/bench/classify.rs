//! The first rule of a policy that permits what is asked.

use aya_ebpf::{macros::xdp, programs::XdpContext};
use dataplane_common::{
    addr::Addr,
    table::classifier::{self, Asked},
};

use super::{INPUTS, Objects, Run, run};

#[xdp]
fn bench_classify(_: XdpContext) -> u32 {
    run(classify)
}

/// As much as is read, and nothing else: to be subtracted.
#[xdp]
fn bench_classify_none(_: XdpContext) -> u32 {
    run(none)
}

unsafe extern "C" fn classify(_: u32, run: &mut Run) -> i64 {
    let Some((table, asked)) = question(run) else { return 1 };
    let rule = classifier::find(&Objects, table, &asked).unwrap_or(0);
    run.result(rule);
    0
}

unsafe extern "C" fn none(_: u32, run: &mut Run) -> i64 {
    let Some((table, asked)) = question(run) else { return 1 };
    let [high, low] = asked.addr.words();
    let service = u32::from(asked.port) ^ u32::from(asked.protocol) ^ asked.class;
    run.result(((high ^ low) >> 33) as u32 ^ (table ^ service) >> 1);
    0
}

/// Two inputs: the remote's address; then the table, the class, and what lies above.
#[inline(always)]
fn question(run: &Run) -> Option<(u32, Asked)> {
    let at = (run.at << 1) & run.mask;
    let addr = Addr::from_words(*INPUTS.get(at)?);
    let &[place, service] = INPUTS.get(at | 1)?;
    let asked = Asked {
        protocol: service as u8,
        port: (service >> 16) as u16,
        addr,
        class: (place >> 32) as u32,
        lines_only: service >> 32 & 1 != 0,
    };
    Some((place as u32, asked))
}
