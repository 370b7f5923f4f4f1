//! A map of which a copy takes no time. Both copies share their parts until one of them changes, so a snapshot is written
//! from a copy while events go on to change the original.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;

/// The number of parts. After a copy, the first change of a part copies the pointers of that part alone: 250 of a million.
const PARTS: usize = 4096;

/// A map of shared values.
#[derive(Debug)]
pub(crate) struct SharedMap<K, V> {
    hasher: RandomState,
    parts: Vec<Arc<HashMap<K, Arc<V>>>>,
}

impl<K: Hash + Eq + Clone, V: Clone> SharedMap<K, V> {
    pub(crate) fn get(&self, key: &K) -> Option<&Arc<V>> {
        self.parts[self.part_of(key)].get(key)
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let part = self.part_of(key);
        Some(Arc::make_mut(Arc::make_mut(&mut self.parts[part]).get_mut(key)?))
    }

    /// Returns the value, and inserts the default if there is none.
    pub(crate) fn get_or_default(&mut self, key: &K) -> &mut V
    where
        V: Default,
    {
        let part = self.part_of(key);
        let part = Arc::make_mut(&mut self.parts[part]);
        if !part.contains_key(key) {
            part.insert(key.clone(), Arc::default());
        }
        Arc::make_mut(part.get_mut(key).expect("inserted above"))
    }

    /// Inserts or replaces a value, and returns it.
    pub(crate) fn insert(&mut self, key: K, value: V) -> &mut V {
        let part = self.part_of(&key);
        let entry = Arc::make_mut(&mut self.parts[part]).entry(key).insert_entry(Arc::new(value));
        Arc::make_mut(entry.into_mut())
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<Arc<V>> {
        let part = self.part_of(key);
        if !self.parts[part].contains_key(key) {
            return None;
        }
        Arc::make_mut(&mut self.parts[part]).remove(key)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &Arc<V>)> {
        self.parts.iter().flat_map(|part| part.iter())
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &Arc<V>> {
        self.iter().map(|(_, value)| value)
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    pub(crate) fn into_values(self) -> impl Iterator<Item = V> {
        let parts = self.parts.into_iter().flat_map(|part| Arc::unwrap_or_clone(part).into_values());
        parts.map(Arc::unwrap_or_clone)
    }

    fn part_of(&self, key: &K) -> usize {
        // The remainder is less than the number of parts.
        self.hasher.hash_one(key) as usize % PARTS
    }
}

impl<K, V> Default for SharedMap<K, V> {
    fn default() -> Self {
        Self { hasher: RandomState::new(), parts: vec![Arc::default(); PARTS] }
    }
}

impl<K, V> Clone for SharedMap<K, V> {
    fn clone(&self) -> Self {
        Self { hasher: self.hasher.clone(), parts: self.parts.clone() }
    }
}

impl<K: Hash + Eq + Clone, V: Clone> FromIterator<(K, V)> for SharedMap<K, V> {
    fn from_iter<T: IntoIterator<Item = (K, V)>>(entries: T) -> Self {
        let mut map = Self::default();
        entries.into_iter().for_each(|(key, value)| {
            map.insert(key, value);
        });
        map
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_keeps_what_was_there_when_it_was_made() {
        let mut map: SharedMap<u32, String> = (0..10_000).map(|n| (n, n.to_string())).collect();
        let copy = map.clone();
        map.get_mut(&7).unwrap().push('!');
        map.insert(8, "eight".to_owned());
        map.get_or_default(&10_000).push('x');
        assert!(map.remove(&9).is_some() && map.remove(&9).is_none());
        let values = |map: &SharedMap<u32, String>| {
            [7, 8, 9, 10_000].map(|key| map.get(&key).map(|value| value.to_string()))
        };
        assert_eq!(values(&copy), [Some("7".into()), Some("8".into()), Some("9".into()), None]);
        assert_eq!(values(&map), [Some("7!".into()), Some("eight".into()), None, Some("x".into())]);
        assert_eq!((copy.keys().count(), map.values().count()), (10_000, 10_000));
    }
}
