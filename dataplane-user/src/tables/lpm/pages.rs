//! Where is what placed, and what has to be placed anew after a change?

use dataplane_common::table::{
    heap::Line,
    lpm::{ENTRIES, PLACE, Path, REFERENCE, kind},
};

use super::{
    super::heap::{Full, Space},
    object::{BYTES, Fan, common, line, path, put, reach, split, steps},
    prefixes::{Leaf, Prefix, Prefixes, mask},
};

/// Above more prefixes than that is a page.
const OBJECT_PREFIXES_MAX: usize = 256;

/// A table in the heap.
#[derive(Debug)]
pub struct Top {
    first: u32,
    page: Option<Page>,
}

/// An entry of a page.
#[derive(Default, Debug)]
struct Slot {
    entry: u32,
    /// What the entry leads to, if that is a page, with or without a path before.
    page: Option<Box<Page>>,
}

#[derive(Debug)]
struct Page {
    place: u32,
    /// Whose first bytes lead here, and how many of them.
    number: u128,
    depth: u32,
    slots: Vec<Slot>,
}

/// Whoever places a table.
pub struct Store<'a, S> {
    pub prefixes: &'a Prefixes,
    pub default: u32,
    pub space: &'a mut S,
}

impl Top {
    /// The first line, 0 of a table of nothing.
    pub fn first(&self) -> u32 {
        self.first
    }
}

impl<S: Space> Store<'_, S> {
    /// Places all of it.
    pub fn top(&mut self) -> Result<Top, Full> {
        let leaves: Vec<Leaf> = self.prefixes.beneath(0, 0).collect();
        let (bits, (value, rest)) = match leaves.as_slice() {
            [] if self.default == 0 => return Ok(Top { first: 0, page: None }),
            [] => (0, (0, &[][..])),
            // All bits of a single one can be compared at once.
            [(only, value)] => (u32::from(only.length), (*value, &[][..])),
            all => {
                let skip = common(all, 0);
                (8 * skip, split(all, skip, 0))
            }
        };
        if leaves.len() > OBJECT_PREFIXES_MAX {
            let page = self.page(rest, bits / 8, value)?;
            return Ok(Top { first: self.first(&page)?, page: Some(page) });
        }
        let mut lines = vec![Line::default()];
        let then = steps(&mut lines, 0, rest, bits / 8, value);
        let number = leaves.first().map_or(0, |(prefix, _)| prefix.number());
        lines[0] = line(Path { then, otherwise: self.default, near: !0, ..path(number, bits) });
        Ok(Top { first: self.place(lines)?, page: None })
    }

    /// Places what these changes, which are in order, touch, and keeps the rest.
    pub fn again(&mut self, top: &mut Top, changes: &[Prefix]) -> Result<(), Full> {
        if changes.is_empty() {
            self.keep(top);
            return Ok(());
        }
        let changes: Vec<_> =
            changes.iter().copied().filter(|prefix| !prefix.is_default()).collect();
        let page = top.page.as_mut().filter(|page| self.stays(page, &changes, 0));
        if let Some(page) = page {
            self.change(page, &changes)?;
            top.first = self.first(page)?;
            self.keep(top);
        } else {
            *top = self.top()?;
        }
        Ok(())
    }

    /// All of it is needed on.
    fn keep(&mut self, top: &Top) {
        if top.first != 0 {
            self.space.keep(top.first);
        }
        if let Some(page) = &top.page {
            self.keep_page(page);
        }
    }

    fn keep_page(&mut self, page: &Page) {
        self.space.keep(page.place);
        for slot in &page.slots {
            // A page's own place is in the page.
            if slot.entry >= REFERENCE && slot.entry & kind::ALL != kind::PAGE {
                self.space.keep(slot.entry & PLACE);
            }
            if let Some(page) = &slot.page {
                self.keep_page(page);
            }
        }
    }

    /// The first line of a table with pages.
    fn first(&mut self, page: &Page) -> Result<u32, Full> {
        let path = path(page.number, 8 * page.depth);
        let then = kind::PAGE | page.place;
        self.place(vec![line(Path { then, otherwise: self.default, ..path })])
    }

    /// Do all changes lie beneath the page, and are there still enough beneath this many bytes?
    fn stays(&self, page: &Page, changes: &[Prefix], depth: u32) -> bool {
        let bits = 8 * page.depth as u8;
        let own = Prefix::of(page.number, bits);
        changes
            .iter()
            .all(|prefix| prefix.length > bits && Prefix::of(prefix.number(), bits) == own)
            && self.prefixes.beneath(page.number, depth).nth(OBJECT_PREFIXES_MAX).is_some()
    }

    fn page(&mut self, leaves: &[Leaf], depth: u32, value: u32) -> Result<Page, Full> {
        let fan = Fan::new(leaves, depth, value);
        let number = leaves.first().map_or(0, |(prefix, _)| prefix.number());
        let mut page = Page { place: 0, number, depth, slots: Vec::with_capacity(BYTES) };
        for at in 0..BYTES {
            page.slots.push(self.slot(fan.beneath(at), depth + 1, fan.values[at])?);
        }
        page.place = self.place(page.lines())?;
        Ok(page)
    }

    fn slot(&mut self, leaves: &[Leaf], depth: u32, value: u32) -> Result<Slot, Full> {
        if leaves.len() <= OBJECT_PREFIXES_MAX {
            let mut lines = Vec::new();
            let entry = steps(&mut lines, 0, leaves, depth, value);
            return Ok(Slot { entry: entry | self.place(lines)?, page: None });
        }
        let skip = common(leaves, depth);
        let (inner, rest) = split(leaves, depth + skip, value);
        let page = self.page(rest, depth + skip, inner)?;
        Ok(Slot { entry: self.entry(&page, depth, value)?, page: Some(Box::new(page)) })
    }

    /// The entry that leads to a page, by a path if bytes are between.
    fn entry(&mut self, page: &Page, depth: u32, value: u32) -> Result<u32, Full> {
        let then = kind::PAGE | page.place;
        if page.depth == depth {
            return Ok(then);
        }
        let path = path(page.number << (8 * depth), 8 * (page.depth - depth));
        Ok(kind::PATH | self.place(vec![line(Path { then, otherwise: value, ..path })])?)
    }

    /// Makes the slots anew that the changes touch, and the page.
    fn change(&mut self, page: &mut Page, changes: &[Prefix]) -> Result<(), Full> {
        let depth = page.depth;
        let mut is_whole = [false; BYTES];
        for prefix in changes {
            let bits = u32::from(prefix.length) - 8 * depth;
            if bits <= 8 {
                is_whole[reach(prefix.byte(depth), bits)].fill(true);
            }
        }
        let mut changes = changes;
        for (at, is_whole) in is_whole.into_iter().enumerate() {
            let end = changes.partition_point(|prefix| prefix.byte(depth) <= at);
            let (own, rest) = changes.split_at(end);
            changes = rest;
            if is_whole || !own.is_empty() {
                let above = page.number & mask(8 * depth);
                let number = above | (at as u128) << (8 * (15 - depth));
                let own = (!is_whole).then_some(own);
                self.change_slot(&mut page.slots[at], own, number, depth + 1)?;
            }
        }
        page.place = self.place(page.lines())?;
        Ok(())
    }

    /// Makes a slot anew; without changes, all beneath it.
    fn change_slot(
        &mut self,
        slot: &mut Slot,
        changes: Option<&[Prefix]>,
        number: u128,
        depth: u32,
    ) -> Result<(), Full> {
        let value = self.prefixes.holding(number, depth);
        if let Some(page) = &mut slot.page
            && let Some(changes) = changes
            && self.stays(page, changes, depth)
        {
            self.change(page, changes)?;
            slot.entry = self.entry(page, depth, value)?;
            return Ok(());
        }
        let leaves: Vec<Leaf> = self.prefixes.beneath(number, depth).collect();
        *slot = self.slot(&leaves, depth, value)?;
        Ok(())
    }

    fn place(&mut self, lines: Vec<Line>) -> Result<u32, Full> {
        let full = Full { lines: lines.len() };
        // A reference has no more bits for it.
        self.space.place(lines).and_then(|place| if place > PLACE { Err(full) } else { Ok(place) })
    }
}

impl Page {
    fn lines(&self) -> Vec<Line> {
        let mut lines = vec![Line::default(); BYTES / ENTRIES as usize];
        for (at, slot) in self.slots.iter().enumerate() {
            put(&mut lines, 0, at, slot.entry);
        }
        lines
    }
}
