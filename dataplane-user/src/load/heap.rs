//! Where in the kernel's heap is room, and what lies there?
//!
//! An object that a version of the site needs is *kept*. When a version is in force and no
//! packet is under way that began before it, what is not kept is free. Nothing of this is
//! written down: every version lists its objects, and a process that comes anew reads that.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    hash::{BuildHasher, RandomState},
};

use dataplane_common::table::{
    Record,
    heap::{Heap as Lines, LINE_BYTES, Line, List},
    root::{Extent, More, Root},
};

use super::{Error, mapping::Mapping};
use crate::tables::{
    heap::{Full, Space, records},
    layout,
};

/// Memory that lines lie in.
pub trait Memory {
    /// All of it.
    fn lines(&self) -> &[Line];
    /// All of it, to be written.
    fn lines_mut(&mut self) -> &mut [Line];
}

impl Memory for Mapping<Line> {
    fn lines(&self) -> &[Line] {
        self.records()
    }

    fn lines_mut(&mut self) -> &mut [Line] {
        self.records_mut()
    }
}

/// The heap as one process has it.
pub struct Heap<M> {
    memory: M,
    /// Objects by their first lines, with their digests.
    objects: BTreeMap<u32, Object>,
    /// First lines by digest.
    places: HashMap<u64, Vec<u32>>,
    hasher: RandomState,
    /// Gaps by their first lines, and the same by size.
    gaps: BTreeMap<u32, u32>,
    by_size: BTreeSet<(u32, u32)>,
    /// What the version in the making needs, and what of it was placed for it.
    kept: HashSet<u32>,
    fresh: Vec<u32>,
}

#[derive(Clone, Copy)]
struct Object {
    lines: u32,
    digest: u64,
}

/// How full the heap is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Room {
    /// Lines of 64 bytes in use.
    pub used: u32,
    /// All lines.
    pub lines: u32,
    /// The longest piece that is free.
    pub largest: u32,
}

impl<M: Memory> Heap<M> {
    /// The heap in this memory, in which the version at `root` is in force; 0: none is.
    pub fn new(memory: M, root: u32) -> Result<Self, Error> {
        let lines = u32::try_from(memory.lines().len()).unwrap_or(u32::MAX);
        let mut heap = Self {
            memory,
            objects: BTreeMap::new(),
            places: HashMap::new(),
            hasher: RandomState::new(),
            gaps: BTreeMap::new(),
            by_size: BTreeSet::new(),
            kept: HashSet::new(),
            fresh: Vec::new(),
        };
        // Lines 0 and 1 are nobody's.
        heap.open(2, lines.saturating_sub(2));
        if root != 0 {
            for extent in heap.extents(root).ok_or(Error::HeapDamaged)? {
                heap.adopt(extent).ok_or(Error::HeapDamaged)?;
            }
        }
        Ok(heap)
    }

    /// The root at this line.
    pub fn root(&self, at: u32) -> Option<(Root, More)> {
        Some((*self.line(at)?.record(0), *self.line(at.checked_add(1)?)?.record(0)))
    }

    /// The lines of an object.
    pub fn object(&self, first: u32, lines: u32) -> &[Line] {
        let (first, lines) = (first as usize, lines as usize);
        self.memory.lines().get(first..first.saturating_add(lines)).unwrap_or_default()
    }

    /// The same, to be changed in place.
    pub fn object_mut(&mut self, first: u32, lines: u32) -> &mut [Line] {
        let (first, lines) = (first as usize, lines as usize);
        self.memory.lines_mut().get_mut(first..first.saturating_add(lines)).unwrap_or_default()
    }

    /// The records of a list.
    pub fn records<T: Record + 'static>(&self, list: List) -> Vec<T> {
        let per_line = (LINE_BYTES / size_of::<T>()) as u32;
        let lines = self.object(list.first, list.count.div_ceil(per_line));
        records(lines).take(list.count as usize).copied().collect()
    }

    /// How full it is.
    pub fn room(&self) -> Room {
        let lines = u32::try_from(self.memory.lines().len()).unwrap_or(u32::MAX);
        let free: u32 = self.gaps.values().sum();
        let largest = self.by_size.last().map_or(0, |(lines, _)| *lines);
        Room { used: lines - free, lines, largest }
    }

    /// Begins a version; one that was begun and did not come into force is given up.
    pub fn begin(&mut self) {
        self.give_up();
        self.kept.clear();
    }

    /// Places what the version begins with; answers its line.
    pub fn finish(&mut self, root: Root, more: More) -> Result<u32, Full> {
        let mut extents: Vec<_> = self.kept.iter().copied().collect();
        extents.sort_unstable();
        let extents = extents
            .into_iter()
            .filter_map(|first| Some(Extent { first, lines: self.objects.get(&first)?.lines }));
        let extents: Vec<_> = extents.collect();
        let extents = self.list(&extents)?;
        self.place(layout::root_lines(root, More { extents, ..more }))
    }

    /// The version that was begun is in force.
    pub fn keep(&mut self) {
        self.fresh.clear();
    }

    /// It is, and no packet uses the one before.
    pub fn settle(&mut self) {
        let old: Vec<_> =
            self.objects.keys().copied().filter(|at| !self.kept.contains(at)).collect();
        for first in old {
            self.free(first);
        }
        self.keep();
    }

    /// The version that was begun is given up.
    pub fn give_up(&mut self) {
        for first in std::mem::take(&mut self.fresh) {
            self.free(first);
        }
        // The one in force is whole still, and the next to begin says what it keeps.
    }

    /// The objects of the version at `root`, those that it begins with included.
    fn extents(&self, root: u32) -> Option<Vec<Extent>> {
        let (_, more) = self.root(root)?;
        let list = more.extents;
        let lines = list.count.div_ceil((LINE_BYTES / size_of::<Extent>()) as u32);
        let mut extents = self.records::<Extent>(list);
        if extents.len() < list.count as usize {
            return None;
        }
        extents.push(Extent { first: list.first, lines });
        extents.push(Extent { first: root, lines: 2 });
        extents.retain(|extent| extent.lines > 0);
        Some(extents)
    }

    /// What lies there is in use.
    fn adopt(&mut self, Extent { first, lines }: Extent) -> Option<()> {
        let (&gap, &length) = self.gaps.range(..=first).next_back()?;
        let end = first.checked_add(lines).filter(|end| *end <= gap + length)?;
        self.close(gap, length);
        self.open(gap, first - gap);
        self.open(end, gap + length - end);
        let digest = self.hasher.hash_one(self.object(first, lines));
        self.note(first, Object { lines, digest });
        self.kept.insert(first);
        Some(())
    }

    fn note(&mut self, first: u32, object: Object) {
        self.objects.insert(first, object);
        self.places.entry(object.digest).or_default().push(first);
    }

    fn open(&mut self, first: u32, lines: u32) {
        if lines > 0 {
            self.gaps.insert(first, lines);
            self.by_size.insert((lines, first));
        }
    }

    fn close(&mut self, first: u32, lines: u32) {
        self.gaps.remove(&first);
        self.by_size.remove(&(lines, first));
    }

    fn free(&mut self, first: u32) {
        let Some(Object { lines, digest }) = self.objects.remove(&first) else { return };
        if let Some(places) = self.places.get_mut(&digest) {
            places.retain(|place| *place != first);
            if places.is_empty() {
                self.places.remove(&digest);
            }
        }
        let (mut from, mut length) = (first, lines);
        if let Some((&before, &size)) = self.gaps.range(..first).next_back()
            && before + size == first
        {
            self.close(before, size);
            (from, length) = (before, size + length);
        }
        if let Some(&size) = self.gaps.get(&(first + lines)) {
            self.close(first + lines, size);
            length += size;
        }
        self.open(from, length);
    }
}

impl<M: Memory> Lines for Heap<M> {
    fn line(&self, index: u32) -> Option<&Line> {
        self.memory.lines().get(index as usize)
    }
}

impl<M: Memory> Space for Heap<M> {
    fn place(&mut self, lines: Vec<Line>) -> Result<u32, Full> {
        if lines.is_empty() {
            return Ok(0);
        }
        let digest = self.hasher.hash_one(lines.as_slice());
        let count = u32::try_from(lines.len()).map_err(|_| Full { lines: lines.len() })?;
        // What lies there may have been changed in place since, or by somebody else.
        let same = self.places.get(&digest).into_iter().flatten().copied();
        let same = same.into_iter().find(|&first| self.object(first, count) == lines);
        if let Some(first) = same {
            self.kept.insert(first);
            return Ok(first);
        }
        let (size, first) =
            self.by_size.range((count, 0)..).next().copied().ok_or(Full { lines: lines.len() })?;
        self.close(first, size);
        self.open(first + count, size - count);
        self.object_mut(first, count).copy_from_slice(&lines);
        self.note(first, Object { lines: count, digest });
        self.kept.insert(first);
        self.fresh.push(first);
        Ok(first)
    }

    fn keep(&mut self, first: u32) {
        debug_assert!(self.objects.contains_key(&first), "{first} is no object");
        self.kept.insert(first);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Memory for Vec<Line> {
        fn lines(&self) -> &[Line] {
            self
        }

        fn lines_mut(&mut self) -> &mut [Line] {
            self
        }
    }

    fn heap(lines: usize) -> Heap<Vec<Line>> {
        Heap::new(vec![Line::default(); lines], 0).expect("nothing is in it")
    }

    fn lines(count: usize, number: u64) -> Vec<Line> {
        vec![Line { words: [number; 8] }; count]
    }

    fn finish(heap: &mut Heap<Vec<Line>>) -> u32 {
        heap.finish(Root::default(), More::default()).expect("room")
    }

    #[test]
    fn a_version_keeps_what_it_shares_and_frees_the_rest() {
        let mut heap = heap(64);
        heap.begin();
        let (a, b) = (heap.place(lines(5, 1)).unwrap(), heap.place(lines(7, 2)).unwrap());
        finish(&mut heap);
        heap.settle();
        assert_eq!(heap.room(), Room { used: 2 + 12 + 1 + 2, lines: 64, largest: 47 });
        heap.begin();
        assert_eq!(heap.place(lines(7, 2)), Ok(b));
        let c = heap.place(lines(9, 3)).unwrap();
        assert!(c > b, "{c} is where something in force lies");
        finish(&mut heap);
        heap.settle();
        assert_eq!(heap.place(lines(5, 4)), Ok(a));
    }

    #[test]
    fn what_is_given_up_leaves_no_trace() {
        let mut heap = heap(64);
        heap.begin();
        heap.place(lines(5, 1)).unwrap();
        let root = finish(&mut heap);
        heap.settle();
        let room = heap.room();
        heap.begin();
        heap.place(lines(40, 2)).unwrap();
        assert_eq!(heap.place(lines(40, 3)), Err(Full { lines: 40 }));
        heap.give_up();
        assert_eq!(heap.room(), room);
        heap.begin();
        heap.place(lines(5, 1)).unwrap();
        assert_eq!(finish(&mut heap), root);
    }

    #[test]
    fn who_comes_anew_finds_what_lies_there() {
        let mut heap = heap(64);
        heap.begin();
        heap.place(lines(5, 1)).unwrap();
        let gone = heap.place(lines(3, 2)).unwrap();
        finish(&mut heap);
        heap.settle();
        heap.begin();
        let kept = heap.place(lines(5, 1)).unwrap();
        let root = finish(&mut heap);
        heap.settle();
        let room = heap.room();
        let mut next = Heap::new(heap.memory.clone(), root).expect("whole");
        assert_eq!(next.room(), room);
        next.begin();
        assert_eq!(next.place(lines(5, 1)), Ok(kept));
        assert_eq!(finish(&mut next), root);
        assert!(next.place(lines(3, 2)).unwrap() >= gone);

        // Changed behind our back: it is not the same any more.
        let mut memory = heap.memory.clone();
        memory[kept as usize].words[3] ^= 1;
        let mut next = Heap::new(memory, root).expect("whole enough");
        next.begin();
        assert_ne!(next.place(lines(5, 1)), Ok(kept));
    }

    #[test]
    fn a_list_that_cannot_be_is_refused() {
        let mut memory = vec![Line::default(); 64];
        let extents = List { first: 9, count: 1 };
        memory[4].put(0, More { extents, ..More::default() });
        memory[9].put(0, Extent { first: 60, lines: 5 });
        assert!(matches!(Heap::new(memory, 3), Err(Error::HeapDamaged)));
    }
}
