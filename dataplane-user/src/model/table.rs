//! How does one object name another? By a typed index into the site's tables.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Index;

/// An index into a [`Table`].
pub trait Ix: Copy {
    /// Makes the index of a position.
    fn new(position: usize) -> Self;
    /// The position.
    fn position(self) -> usize;
}

macro_rules! index {
    ($($(#[$doc:meta])* $Name:ident),* $(,)?) => { $(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $Name(u32);

        impl Ix for $Name {
            fn new(position: usize) -> Self {
                // A site file has fewer than 2^32 bytes, so fewer objects.
                $Name(position as u32)
            }

            fn position(self) -> usize {
                self.0 as usize
            }
        }
    )* };
}

index! {
    /// A tenant.
    TenantIx,
    /// An (interface, VLAN).
    AttachmentIx,
    /// A network.
    NetworkIx,
    /// A port.
    PortIx,
    /// A router.
    RouterIx,
    /// A security group.
    GroupIx,
    /// An address group.
    AddressGroupIx,
    /// A line.
    LineIx,
    /// A line group.
    LineGroupIx,
    /// An uplink.
    UplinkIx,
    /// An access.
    AccessIx,
}

/// A list that is read by its own kind of index.
#[derive(Clone, PartialEq, Eq)]
pub struct Table<I, T> {
    items: Vec<T>,
    index: PhantomData<I>,
}

impl<I: Ix, T> Table<I, T> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Every object with its index.
    pub fn iter(&self) -> impl Iterator<Item = (I, &T)> {
        self.items.iter().enumerate().map(|(position, item)| (I::new(position), item))
    }

    /// Every object.
    pub fn values(&self) -> std::slice::Iter<'_, T> {
        self.items.iter()
    }
}

impl<I, T> From<Vec<T>> for Table<I, T> {
    fn from(items: Vec<T>) -> Self {
        Table { items, index: PhantomData }
    }
}

impl<I: Ix, T> Index<I> for Table<I, T> {
    type Output = T;

    fn index(&self, index: I) -> &T {
        &self.items[index.position()]
    }
}

impl<I, T: fmt::Debug> fmt::Debug for Table<I, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.items.fmt(f)
    }
}
