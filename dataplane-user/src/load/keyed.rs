//! How is one table of records under keys written, version by version?
//!
//! The version is a part of every key, so the records of the next version stand beside
//! those in force until they are removed.

use std::{collections::HashMap as StdHashMap, hash::Hash as StdHash, io};

use aya::maps::{HashMap, LpmTrie, MapData, MapError, lpm_trie::Key};
use dataplane_common::table::{Prefix, Prefixed, Versioned};

use super::{
    Error,
    records::{Plain, Record},
};

/// A hash map: what lies under exactly this key.
pub struct Hash<K, V>
where
    Versioned<K>: Plain,
    V: Plain,
{
    name: &'static str,
    map: HashMap<MapData, Record<Versioned<K>>, Record<V>>,
}

impl<K, V> Hash<K, V>
where
    K: Copy + Eq + StdHash,
    Versioned<K>: Plain,
    V: Plain,
{
    pub fn new(name: &'static str, map: aya::maps::Map) -> Result<Self, Error> {
        let map = HashMap::try_from(map).map_err(|source| Error::Map { name, source })?;
        Ok(Self { name, map })
    }

    pub fn put(&mut self, version: u32, key: &K, value: &V) -> Result<(), Error> {
        let key = Record(Versioned::new(*key, version));
        self.map.insert(key, Record(*value), 0).map_err(|source| Error::Write {
            table: self.name,
            version,
            source,
        })
    }

    pub fn remove(&mut self, version: u32, key: &K) -> Result<(), Error> {
        let key = Record(Versioned::new(*key, version));
        removed(self.map.remove(&key)).map_err(|source| Error::Write {
            table: self.name,
            version,
            source,
        })
    }

    /// Removes what is of any other version.
    pub fn keep_only(&mut self, version: u32) -> Result<(), Error> {
        let keys = self.keys()?;
        let others = keys.iter().filter(|key| key.0.version != version);
        for key in others {
            removed(self.map.remove(key)).map_err(|source| Error::Write {
                table: self.name,
                version,
                source,
            })?;
        }
        Ok(())
    }

    /// Everything of a version, as the kernel has it.
    pub fn read(&self, version: u32) -> Result<StdHashMap<K, V>, Error> {
        let map = |source| Error::Map { name: self.name, source };
        let mut found = StdHashMap::new();
        for key in self.keys()?.iter().filter(|key| key.0.version == version) {
            found.insert(key.0.key, self.map.get(key, 0).map_err(map)?.0);
        }
        Ok(found)
    }

    fn keys(&self) -> Result<Vec<Record<Versioned<K>>>, Error> {
        let keys: Result<_, _> = self.map.keys().collect();
        keys.map_err(|source| Error::Map { name: self.name, source })
    }
}

/// A trie: what lies under the longest prefix of a key.
pub struct Trie<K, V>
where
    K: Prefix,
    Prefixed<K>: Plain,
    V: Plain,
{
    name: &'static str,
    map: LpmTrie<MapData, Record<Prefixed<K>>, Record<V>>,
}

impl<K, V> Trie<K, V>
where
    K: Prefix,
    Prefixed<K>: Plain,
    V: Plain,
{
    pub fn new(name: &'static str, map: aya::maps::Map) -> Result<Self, Error> {
        let map = LpmTrie::try_from(map).map_err(|source| Error::Map { name, source })?;
        Ok(Self { name, map })
    }

    /// `bits` of the key's address count.
    pub fn put(&mut self, version: u32, key: &K, bits: u8, value: &V) -> Result<(), Error> {
        self.map
            .insert(&prefix(version, key, bits), Record(*value), 0)
            .map_err(|source| Error::Write { table: self.name, version, source })
    }

    pub fn remove(&mut self, version: u32, key: &K, bits: u8) -> Result<(), Error> {
        removed(self.map.remove(&prefix(version, key, bits))).map_err(|source| Error::Write {
            table: self.name,
            version,
            source,
        })
    }

    /// Removes what is of any other version.
    pub fn keep_only(&mut self, version: u32) -> Result<(), Error> {
        let keys = self.keys()?;
        let others = keys.iter().filter(|key| key.data().0.version != version);
        for key in others {
            removed(self.map.remove(key)).map_err(|source| Error::Write {
                table: self.name,
                version,
                source,
            })?;
        }
        Ok(())
    }

    /// Everything of a version, as the kernel has it.
    pub fn read(&self, version: u32) -> Result<Prefixes<K, V>, Error> {
        let map = |source| Error::Map { name: self.name, source };
        let mut found = Vec::new();
        for key in self.keys()?.iter().filter(|key| key.data().0.version == version) {
            let data = key.data().0;
            let bits = key.prefix_len().saturating_sub(Prefixed::<K>::FIXED_BITS) as u8;
            found.push((data.fixed, data.addr, bits, self.map.get(key, 0).map_err(map)?.0));
        }
        Ok(found)
    }

    fn keys(&self) -> Result<Vec<Key<Record<Prefixed<K>>>>, Error> {
        let keys: Result<_, _> = self.map.keys().collect();
        keys.map_err(|source| Error::Map { name: self.name, source })
    }
}

/// What has to be equal, the address's words, how many of its bits count, the value.
pub type Prefixes<K, V> = Vec<(<K as Prefix>::Fixed, [u64; 2], u8, V)>;

fn prefix<K: Prefix>(version: u32, key: &K, bits: u8) -> Key<Record<Prefixed<K>>>
where
    Prefixed<K>: Plain,
{
    let data = Record(Prefixed::new(key, version));
    Key::new(Prefixed::<K>::FIXED_BITS + u32::from(bits), data)
}

/// What is gone need not be removed.
fn removed(outcome: Result<(), MapError>) -> Result<(), MapError> {
    match outcome {
        Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(error)) if error.io_error.kind() == io::ErrorKind::NotFound => {
            Ok(())
        }
        other => other,
    }
}
