//! How is an index laid out, so that every key lies at one of its homes?

use dataplane_common::table::{
    heap::{LINE_BYTES, Line},
    index::{Entry, Index, REACH},
    secret::Secret,
};

use super::heap::{Full, Space};

/// How often somebody is driven out for one entry: as often only where keys crowd.
const MOVES_MAX: usize = 500;

/// Places an index of these records, whose keys differ.
pub fn place<E: Entry>(
    entries: &[(E::Key, E)],
    secret: &Secret,
    space: &mut impl Space,
) -> Result<Index, Full> {
    if entries.is_empty() {
        return Ok(Index::default());
    }
    let hashed = entries.iter().map(|(key, entry)| (E::hash(key, secret), *entry));
    let entries: Vec<_> = hashed.collect();
    // Two lines for each, so that most lie where they are looked for first, or more where keys
    // crowd.
    let mut count = 1 + 2 * entries.len();
    loop {
        let lines = u32::try_from(count).map_err(|_| Full { lines: count })?;
        let index = Index { first: 0, lines };
        if let Some(lines) = lay(&entries, index) {
            return Ok(Index { first: space.place(lines)?, ..index });
        }
        count += count.div_ceil(4);
    }
}

/// The lines with all entries, if each finds a place.
fn lay<E: Entry>(entries: &[(u64, E)], index: Index) -> Option<Vec<Line>> {
    let per_line = LINE_BYTES / size_of::<E>();
    let slots_of = |entry: usize, step| {
        let line = index.line(entries[entry].0, step) as usize;
        per_line * line..per_line * (line + 1)
    };
    let mut slots: Vec<Option<usize>> = vec![None; per_line * index.lines as usize];
    // Everybody who can lies in the line that is looked at first, and so on.
    let mut homeless: Vec<_> = (0..entries.len()).collect();
    for step in 0..REACH {
        homeless.retain(|&entry| {
            let free = slots_of(entry, step).find(|&slot| slots[slot].is_none());
            free.map(|slot| slots[slot] = Some(entry)).is_none()
        });
    }
    // Each of the others takes somebody's place, who then looks for another (cuckoo hashing, Pagh
    // and Rodler 2001). Whose is drawn: in any regular order two may drive out each other for ever.
    let mut chance = 0_u64;
    for entry in homeless {
        let mut homeless = Some(entry);
        let mut moves = 0;
        while let Some(entry) = homeless {
            let places: Vec<_> = (0..REACH).flat_map(|step| slots_of(entry, step)).collect();
            let free = places.iter().find(|&&slot| slots[slot].is_none());
            chance = chance.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            let drawn = places[(chance >> 32) as usize % places.len()];
            homeless = slots[free.copied().unwrap_or(drawn)].replace(entry);
            moves += 1;
            if moves > MOVES_MAX {
                return None;
            }
        }
    }
    let mut lines = vec![Line::default(); index.lines as usize];
    for (slot, entry) in slots.iter().enumerate() {
        if let Some(entry) = entry {
            lines[slot / per_line].put((slot % per_line) as u32, entries[*entry].1);
        }
    }
    Some(lines)
}

#[cfg(test)]
mod tests {
    use dataplane_common::{
        addr::Addr,
        table::{
            Attachment, AttachmentEntry, AttachmentKey, LocationEntry, LocationKey, heap::Heap,
        },
    };

    use super::*;
    use crate::tables::heap::{HostHeap, records};

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
                let nothing = Index::default().find::<AttachmentEntry, _>(&heap, key, &secret);
                assert_eq!(nothing, None, "where the first object lies");
                let other = AttachmentKey { vlan: key.vlan + 7, ..*key };
                assert_eq!(index.find::<AttachmentEntry, _>(&heap, &other, &secret), None);
            }
        }
    }

    /// How many of these keys lie in the line that is looked at first; all are found.
    fn at_home<E: Entry + PartialEq + std::fmt::Debug>(entries: &[(E::Key, E)]) -> usize {
        let secret = Secret::of([3, 4]);
        let mut heap = HostHeap::new();
        let index = place(entries, &secret, &mut heap).expect("room");
        assert!(2 * index.lines as usize <= 5 * entries.len(), "{index:?}");
        let is_at_home = |(key, entry): &&(E::Key, E)| {
            let found: &E = index.find(&heap, key, &secret).expect("it is there");
            assert_eq!(found, entry);
            let home = index.line(E::hash(key, &secret), 0);
            let home = heap.line(index.first + home).expect("it is there");
            records::<E>(std::slice::from_ref(home)).any(|entry| entry.is(key))
        };
        entries.iter().filter(is_at_home).count()
    }

    #[test]
    fn many_keys_take_few_lines_and_most_are_at_home() {
        for count in [1000, 32_768, 200_000_u32] {
            let location = |number: u32| {
                let addr = Addr::v4(number.to_be_bytes());
                let key = LocationKey { addr, zone: 1 + number % 1000, zero: 0 };
                (key, LocationEntry { key, ..LocationEntry::default() })
            };
            let locations: Vec<_> = (0..count).map(location).collect();
            let attachment = |ifindex| {
                let key = AttachmentKey { ifindex, vlan: 0 };
                let attachment = Attachment { id: ifindex, ..Attachment::default() };
                (key, AttachmentEntry { key, attachment })
            };
            let attachments: Vec<_> = (1..=count).map(attachment).collect();
            // Of a line each 79 % by chance, of two in a line 97 %.
            let count = count as usize;
            assert!(4 * at_home(&locations) > 3 * count);
            assert!(20 * at_home(&attachments) > 19 * count);
        }
    }

    #[test]
    fn keys_that_crowd_get_more_room() {
        let secret = Secret::of([5, 6]);
        // Found by trying: keys whose homes are both among the first of 32 lines.
        let is_first = |half: u64| half as u32 >> 27 == 0;
        let crowd: Vec<_> = (1..)
            .map(|ifindex| AttachmentKey { ifindex, vlan: 0 })
            .filter(|key| {
                let hash = AttachmentEntry::hash(key, &secret);
                is_first(hash) && is_first(hash >> 32)
            })
            .take(20)
            .map(|key| (key, AttachmentEntry { key, ..AttachmentEntry::default() }))
            .collect();
        let mut heap = HostHeap::new();
        let index = place(&crowd, &secret, &mut heap).expect("room");
        assert!(index.lines > 64, "{index:?}");
        assert!(crowd.iter().all(|(key, entry)| index.find(&heap, key, &secret) == Some(entry)));
    }
}
