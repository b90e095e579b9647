//! Which maps do all generations of the programs share, and of what shape are they?

use aya::maps::MapData;
use aya_obj::generated::{BPF_F_MMAPABLE, bpf_map_type::BPF_MAP_TYPE_ARRAY};
use dataplane_common::{
    limits,
    stop::STOPS_STRIDE,
    table::{
        datagram::Datagram,
        flow::{BUCKET_LINES, FlowCold, FlowLine, FlowMore},
        heap::Line,
        meter::Meter,
        total::{Intent, TOTALS_MAX, Total},
    },
    tables::{COUNTERS, Refused, SHARES, Tally},
};

use super::{Error, Sizes, place::Place};

/// A map that is pinned and shared. The rest (a packet's work, a trace's notes, the
/// program arrays) each loaded set of programs has for itself.
pub struct Shape {
    /// In the object and in the pin folder.
    pub name: &'static str,
    key_bytes: usize,
    value_bytes: usize,
    max_entries: u32,
}

const fn array<V>(name: &'static str, max_entries: u32) -> Shape {
    Shape { name, key_bytes: size_of::<u32>(), value_bytes: size_of::<V>(), max_entries }
}

/// An array that is one value: its programs look it up once and reckon from there.
const fn whole<V>(name: &'static str, records: u32) -> Shape {
    let value_bytes = size_of::<V>() * records as usize;
    Shape { name, key_bytes: size_of::<u32>(), value_bytes, max_entries: 1 }
}

/// Every shared map, of these sizes.
#[must_use]
pub const fn shared(Sizes { flow_lines, heap_lines }: Sizes) -> [Shape; 24] {
    [
        array::<u64>("ROOT", 1),
        whole::<Line>(HEAP, heap_lines),
        array::<FlowLine>("FLOWS", flow_lines),
        array::<FlowCold>("FLOWS_COLD", flow_lines),
        array::<FlowMore>("FLOWS_MORE", flow_lines),
        array::<u64>("FLOWS_AWAY", flow_lines / BUCKET_LINES),
        array::<u64>("FLOWS_OF_TENANT", limits::TENANTS_MAX),
        array::<Datagram>("DATAGRAMS", limits::DATAGRAMS),
        array::<u64>("AGAIN", limits::AGAIN),
        array::<u64>("SHARES_OF_TENANT", limits::TENANTS_MAX * SHARES),
        array::<Total>("TOTALS", TOTALS_MAX),
        array::<Intent>("INTENT", 1),
        array::<u64>("REPORTS", limits::TENANTS_MAX),
        array::<u64>("COPIES", limits::TENANTS_MAX),
        array::<u64>("CLAIMS", limits::TENANTS_MAX),
        array::<Meter>("METERS", limits::METERS_MAX),
        array::<u64>("HEARD_AT", limits::ATTACHMENTS_MAX),
        array::<Tally>("COUNTS", limits::ATTACHMENTS_MAX * COUNTERS as u32),
        array::<u64>("STOPS", limits::TENANTS_MAX * STOPS_STRIDE),
        array::<u64>(IN_CHARGE, 1),
        Shape {
            name: REFUSED,
            key_bytes: size_of::<u32>(),
            value_bytes: size_of::<Refused>(),
            max_entries: limits::ATTACHMENTS_MAX,
        },
        Shape { name: HEARD, key_bytes: 0, value_bytes: 0, max_entries: limits::HEARD_BYTES },
        Shape { name: PARKED, key_bytes: 0, value_bytes: 0, max_entries: limits::PARKED_BYTES },
        // The kernel's `struct bpf_devmap_val`, or without a program just the ifindex.
        Shape { name: NICS, key_bytes: 4, value_bytes: 0, max_entries: limits::ATTACHMENTS_MAX },
    ]
}

/// What compiled tables lie in.
pub const HEAP: &str = "HEAP";

/// What programs heard of MACs.
pub const HEARD: &str = "HEARD";

/// What NICs did not take from XDP.
pub const REFUSED: &str = "REFUSED";

/// Whose programs count that.
pub const IN_CHARGE: &str = "IN_CHARGE";
/// Fragments that came before their first one.
pub const PARKED: &str = "PARKED";

/// The NICs that XDP sends to.
pub const NICS: &str = "NICS";

/// Makes an array that is one value, unless it is there: a program's object would have to say
/// how large it is.
pub fn make(
    place: &Place,
    Shape { name, key_bytes, value_bytes, .. }: &Shape,
) -> Result<(), Error> {
    let path = place.map(name);
    if path.exists() {
        return Ok(());
    }
    let shape = aya_obj::Map::new_from_params(
        BPF_MAP_TYPE_ARRAY as u32,
        *key_bytes as u32,
        *value_bytes as u32,
        1,
        BPF_F_MMAPABLE,
    );
    let map = MapData::create(shape, name, None).map_err(|source| Error::Map { name, source })?;
    map.pin(&path).map_err(|source| Error::PinMap { name, path, source })
}

/// Compares every pinned map with what the programs expect: the kernel does not, and a
/// program that reads records of another shape would read nonsense.
pub fn compare(place: &Place, sizes: Sizes) -> Result<(), Error> {
    for Shape { name, key_bytes, value_bytes, max_entries } in shared(sizes) {
        let path = place.map(name);
        if !path.exists() {
            return Err(Error::MapLost { path });
        }
        let found = MapData::from_pin(path)
            .and_then(|map| map.info())
            .map_err(|source| Error::Map { name, source })?;
        let differences = [
            ("key size", found.key_size(), key_bytes as u32),
            ("value size", found.value_size(), value_bytes as u32),
            ("number of entries", found.max_entries(), max_entries),
        ];
        for (what, found, own) in differences {
            if found != own && (own != 0) {
                return Err(Error::MapShape { name, what, found, own });
            }
        }
    }
    Ok(())
}
