//! How is an index laid out, so that no key lies far from its home?

use dataplane_common::table::{
    heap::{LINE_BYTES, Line},
    index::{Entry, Index, REACH},
    secret::Secret,
};

use super::heap::{Full, Space};

/// Places an index of these records, whose keys differ.
pub fn place<E: Entry>(
    entries: &[(E::Key, E)],
    secret: &Secret,
    space: &mut impl Space,
) -> Result<Index, Full> {
    if entries.is_empty() {
        return Ok(Index::default());
    }
    let per_line = LINE_BYTES / size_of::<E>();
    let home = |(key, entry): &(E::Key, E)| (E::hash(key, secret) as u32 as usize, *entry);
    let mut entries: Vec<_> = entries.iter().map(home).collect();
    // Half of it is empty, or more where keys crowd.
    let mut count = (2 * entries.len()).div_ceil(per_line).next_power_of_two();
    loop {
        if let Some(lines) = lay(&mut entries, count) {
            return Ok(Index { first: space.place(lines)?, lines: count as u32 });
        }
        count *= 2;
        if u32::try_from(count).is_err() {
            return Err(Full { lines: count });
        }
    }
}

/// So many lines with all entries, if none has to lie out of reach. Whoever is at home first is
/// placed first: in any other order some lie farther away, and the index is many times as large
/// until none is out of reach.
fn lay<E: Entry>(entries: &mut [(usize, E)], count: usize) -> Option<Vec<Line>> {
    let per_line = LINE_BYTES / size_of::<E>();
    let mut lines = vec![Line::default(); count];
    let mut used = vec![0_usize; count];
    entries.sort_by_key(|(home, _)| home & (count - 1));
    for (home, entry) in entries {
        let at = (0..REACH as usize)
            .map(|step| (*home + step) & (count - 1))
            .find(|&at| used[at] < per_line)?;
        lines[at].put(used[at] as u32, *entry);
        used[at] += 1;
    }
    Some(lines)
}

#[cfg(test)]
mod tests {
    use dataplane_common::{
        addr::Addr,
        table::{Attachment, AttachmentEntry, AttachmentKey, LocationEntry, LocationKey},
    };

    use super::*;
    use crate::tables::heap::HostHeap;

    #[test]
    fn each_key_is_found_and_no_other() {
        let secret = Secret::of([77, 78]);
        for count in [1, 2, 3, 50, 5000] {
            let entries: Vec<_> = (1..=count)
                .map(|number| {
                    let key = AttachmentKey { ifindex: number, vlan: number % 7 };
                    let attachment = Attachment { id: number, ..Attachment::default() };
                    (key, AttachmentEntry { key, attachment })
                })
                .collect();
            let mut heap = HostHeap::new();
            let index = place(&entries, &secret, &mut heap).expect("room");
            assert!(index.lines <= 4 * count, "{index:?}");
            for (key, entry) in &entries {
                assert_eq!(index.find(&heap, key, &secret), Some(entry));
                let other = AttachmentKey { vlan: key.vlan + 7, ..*key };
                assert_eq!(index.find::<AttachmentEntry, _>(&heap, &other, &secret), None);
            }
        }
        let key = AttachmentKey::default();
        assert_eq!(
            Index::default().find::<AttachmentEntry, _>(&HostHeap::new(), &key, &secret),
            None
        );
    }

    #[test]
    fn many_records_of_a_line_each_take_few_lines() {
        let secret = Secret::of([3, 4]);
        let entries: Vec<_> = (0..30_000_u32)
            .map(|number| {
                let addr = Addr::v4(number.to_be_bytes());
                let key = LocationKey { addr, zone: 1 + number % 1000, zero: 0 };
                (key, LocationEntry { key, ..LocationEntry::default() })
            })
            .collect();
        let mut heap = HostHeap::new();
        let index = place(&entries, &secret, &mut heap).expect("room");
        assert!(index.lines <= 1 << 19, "{index:?}");
        let is_found = |(key, entry)| index.find(&heap, key, &secret) == Some(entry);
        assert!(entries.iter().all(|(key, entry)| is_found((key, entry))));
    }

    #[test]
    fn keys_that_crowd_get_more_room() {
        let secret = Secret::of([5, 6]);
        // Found by trying: keys whose home is one line of 64.
        let crowd: Vec<_> = (1..)
            .map(|ifindex| AttachmentKey { ifindex, vlan: 0 })
            .filter(|key| AttachmentEntry::hash(key, &secret) & 63 == 9)
            .take(20)
            .map(|key| (key, AttachmentEntry { key, ..AttachmentEntry::default() }))
            .collect();
        let mut heap = HostHeap::new();
        let index = place(&crowd, &secret, &mut heap).expect("room");
        assert!(index.lines > 64);
        assert!(crowd.iter().all(|(key, entry)| index.find(&heap, key, &secret) == Some(entry)));
    }
}
