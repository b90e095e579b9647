//! Which BPF object does this binary carry?

use super::Error;

/// What `build.rs` made of `dataplane-ebpf`; empty where it could not.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/sekisho.bpf.o"));

/// The embedded object.
pub fn embedded() -> Result<&'static [u8], Error> {
    if OBJECT.is_empty() { Err(Error::ObjectMissing) } else { Ok(OBJECT) }
}
