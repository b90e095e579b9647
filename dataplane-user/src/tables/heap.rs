//! Who places compiled objects, and where?
//!
//! A builder makes an object's lines and asks a [`Space`] for a place; it gets the number
//! of the first one. What is equal is placed once: an object that did not change stays
//! where it is, whoever has it.

use std::collections::HashMap;

use dataplane_common::table::{
    Record,
    heap::{Heap, LINE_BYTES, Line, List, PIECE_LINES, Pieces},
};

/// There is no room of that many lines in one piece.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no room for {lines} lines of 64 bytes in one piece")]
pub struct Full {
    /// What was asked for.
    pub lines: usize,
}

/// Whoever has room for objects.
pub trait Space {
    /// Places the lines, or finds where the same lines are; answers the first one's number. No
    /// lines at all are nobody's: 0.
    fn place(&mut self, lines: Vec<Line>) -> Result<u32, Full>;

    /// The object at this line, which a version before placed, is needed by this one, too.
    fn keep(&mut self, first: u32);

    /// Places records of one size, as many in a line as it holds.
    fn list<T: Record>(&mut self, records: &[T]) -> Result<List, Full> {
        let per_line = LINE_BYTES / size_of::<T>();
        let mut lines = vec![Line::default(); records.len().div_ceil(per_line)];
        for (id, record) in records.iter().enumerate() {
            lines[id / per_line].put(id as u32, *record);
        }
        Ok(List { first: self.place(lines)?, count: records.len() as u32 })
    }

    /// Places records of one size in pieces. Where nobody is there is no piece.
    fn pieces<T: Record + Default + PartialEq>(&mut self, records: &[T]) -> Result<Pieces, Full> {
        let per_piece = PIECE_LINES as usize * (LINE_BYTES / size_of::<T>());
        let pieces = records.chunks(per_piece).map(|piece| {
            let is_empty = piece.iter().all(|record| *record == T::default());
            self.list(if is_empty { &[] } else { piece }).map(|list| list.first)
        });
        let firsts = pieces.collect::<Result<Vec<_>, _>>()?;
        Ok(Pieces { firsts: self.list(&firsts)?.first, count: records.len() as u32 })
    }
}

/// Every record in the lines.
pub fn records<'l, T: Record + 'l>(lines: &'l [Line]) -> impl Iterator<Item = &'l T> {
    let per_line = (LINE_BYTES / size_of::<T>()) as u32;
    lines.iter().flat_map(move |line| (0..per_line).map(|slot| line.record(slot)))
}

/// A heap in plain memory, which grows.
#[derive(Clone, Default, Debug)]
pub struct HostHeap {
    lines: Vec<Line>,
    places: HashMap<Vec<Line>, u32>,
}

impl HostHeap {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self { lines: vec![Line::default(); 2], places: HashMap::new() }
    }

    /// How many lines it has.
    #[must_use]
    pub fn lines(&self) -> usize {
        self.lines.len()
    }
}

impl Heap for HostHeap {
    fn line(&self, index: u32) -> Option<&Line> {
        self.lines.get(index as usize)
    }
}

impl Space for HostHeap {
    fn place(&mut self, lines: Vec<Line>) -> Result<u32, Full> {
        if lines.is_empty() {
            return Ok(0);
        }
        if let Some(&place) = self.places.get(&lines) {
            return Ok(place);
        }
        let first = u32::try_from(self.lines.len()).map_err(|_| Full { lines: lines.len() })?;
        self.lines.extend_from_slice(&lines);
        self.places.insert(lines, first);
        Ok(first)
    }

    fn keep(&mut self, _: u32) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_equal_is_placed_once() {
        let mut heap = HostHeap::new();
        let list = heap.list(&[1_u64, 2, 3, 4, 5, 6, 7, 8, 9]).expect("room");
        assert_eq!((list, heap.lines()), (List { first: 2, count: 9 }, 4));
        assert_eq!(heap.list(&[1_u64, 2, 3, 4, 5, 6, 7, 8, 9]), Ok(list));
        assert_eq!(heap.list::<u64>(&[]), Ok(List::default()));
        assert_eq!(list.get::<u64, _>(&heap, 8), Some(&9));
    }

    #[test]
    fn of_records_in_pieces_only_the_changed_piece_is_placed_anew() {
        let mut heap = HostHeap::new();
        let mut records = vec![0_u64; 2000];
        records.extend(1..=1000);
        let pieces = heap.pieces(&records).expect("room");
        let before = heap.lines();
        assert!(before < 1 + 1000 / 8 + 2 * 64, "the empty ones take room: {before} lines");
        for (id, record) in (0..).zip(&records) {
            let there = pieces.get::<u64, _>(&heap, id).copied().unwrap_or(0);
            assert_eq!(there, *record, "{id}");
        }
        assert_eq!(pieces.get::<u64, _>(&heap, 3000), None);
        records[2500] = 7;
        let changed = heap.pieces(&records).expect("room");
        assert_eq!(changed.get::<u64, _>(&heap, 2500), Some(&7));
        assert_eq!(pieces.get::<u64, _>(&heap, 2500), Some(&501));
        assert_eq!(heap.lines() - before, 64 + 1);
    }
}
