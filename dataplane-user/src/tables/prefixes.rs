//! Which prefix is the longest, asked of all in turn?

use std::{collections::HashMap, hash::Hash};

use dataplane_common::addr::Addr;

/// Prefixes by what has to be equal besides, the family included (`::/0` holds no
/// address of IPv4); within that, the longest first.
pub struct Prefixes<K, V>(HashMap<(K, bool), Vec<Prefix<V>>>);
type Prefix<V> = (Addr, u8, V);

impl<K, V> Default for Prefixes<K, V> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Hash + Eq + Copy, V> Prefixes<K, V> {
    /// What the longest prefix leads to that holds the address.
    pub fn longest(&self, key: &K, addr: &Addr) -> Option<&V> {
        let prefixes = self.0.get(&(*key, addr.is_v4()))?;
        let found = prefixes.iter().find(|(net, bits, _)| addr.is_within(net, *bits));
        found.map(|(_, _, value)| value)
    }
}

impl<K: Hash + Eq, V> FromIterator<(K, Addr, u8, V)> for Prefixes<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, Addr, u8, V)>>(prefixes: I) -> Self {
        let mut by_key: HashMap<_, Vec<_>> = HashMap::new();
        for (key, net, bits, value) in prefixes {
            by_key.entry((key, net.is_v4())).or_default().push((net, bits, value));
        }
        for prefixes in by_key.values_mut() {
            prefixes.sort_by_key(|(_, bits, _)| core::cmp::Reverse(*bits));
        }
        Self(by_key)
    }
}
