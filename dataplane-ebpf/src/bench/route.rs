//! The longest prefix: our table, and the kernel's.

use aya_ebpf::{
    macros::{map, xdp},
    maps::{LpmTrie, lpm_trie::Key},
    programs::XdpContext,
};
use dataplane_common::{addr::Addr, table::lpm};

use super::{Objects, Run, run};

/// BPF_F_NO_PREALLOC, without which there is no trie.
const ON_DEMAND: u32 = 1;

/// The same prefixes; sized by the loader.
#[map]
static TRIE_V4: LpmTrie<[u8; 4], u32> = LpmTrie::with_max_entries(1, ON_DEMAND);
#[map]
static TRIE_V6: LpmTrie<[u64; 2], u32> = LpmTrie::with_max_entries(1, ON_DEMAND);

#[xdp]
fn bench_route(_: XdpContext) -> u32 {
    run(route)
}

unsafe extern "C" fn route(_: u32, run: &mut Run) -> i64 {
    let Some(input) = run.input() else { return 1 };
    let value = lpm::find(&Objects, run.object, &Addr::from_words(*input));
    run.result(value);
    0
}

#[xdp]
fn bench_trie_v4(_: XdpContext) -> u32 {
    run(trie_v4)
}

unsafe extern "C" fn trie_v4(_: u32, run: &mut Run) -> i64 {
    let Some(input) = run.input() else { return 1 };
    let key = Key::new(32, Addr::from_words(*input).v4_bytes());
    run.result(TRIE_V4.get(&key).copied().unwrap_or(0));
    0
}

#[xdp]
fn bench_trie_v6(_: XdpContext) -> u32 {
    run(trie_v6)
}

unsafe extern "C" fn trie_v6(_: u32, run: &mut Run) -> i64 {
    let Some(input) = run.input() else { return 1 };
    run.result(TRIE_V6.get(Key::new(128, *input)).copied().unwrap_or(0));
    0
}
