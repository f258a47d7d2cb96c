//! What a watch has seen: the objects of one kind, converted at the door.
//!
//! A new list replaces the old one only when it is complete: a watch that starts again never shows
//! half a cluster (faults.md F30).

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// An object as converted, or why it could not be decoded.
pub(crate) type Decoded<V> = Result<V, String>;

/// Tells whether a change is worth a new pass.
pub(crate) trait Same {
    /// True when nothing that a pass looks at differs.
    fn same(&self, other: &Self) -> bool;
}

/// One event of a watch, converted.
#[derive(Debug)]
pub(crate) enum Change<V> {
    /// A list begins.
    Begin,
    /// One object of the list.
    Listed(String, Decoded<V>),
    /// The list is complete.
    Done,
    /// An object is new or changed.
    Set(String, Decoded<V>),
    /// An object is gone.
    Gone(String),
}

#[derive(Debug)]
struct Inner<V> {
    objects: BTreeMap<String, Decoded<V>>,
    staged: BTreeMap<String, Decoded<V>>,
    synced: bool,
}

/// The objects by name.
#[derive(Debug)]
pub(crate) struct Cache<V>(Mutex<Inner<V>>);

impl<V: Same + Clone> Cache<V> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Inner {
            objects: BTreeMap::new(),
            staged: BTreeMap::new(),
            synced: false,
        }))
    }

    /// Takes a change in; true when a pass should look at it.
    pub(crate) fn apply(&self, change: Change<V>) -> bool {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match change {
            Change::Begin => {
                inner.staged.clear();
                false
            }
            Change::Listed(name, object) => {
                inner.staged.insert(name, object);
                false
            }
            Change::Done => {
                inner.objects = std::mem::take(&mut inner.staged);
                inner.synced = true;
                true
            }
            Change::Set(name, object) => {
                let before = inner.objects.insert(name.clone(), object);
                match (before, inner.objects.get(&name)) {
                    (Some(Ok(before)), Some(Ok(after))) => !before.same(after),
                    (Some(Err(before)), Some(Err(after))) => before != *after,
                    _ => true,
                }
            }
            Change::Gone(name) => inner.objects.remove(&name).is_some(),
        }
    }

    /// Every object by name.
    pub(crate) fn all(&self) -> BTreeMap<String, Decoded<V>> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .objects
            .clone()
    }

    /// True once a list was complete.
    pub(crate) fn is_synced(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).synced
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Same for u32 {
        fn same(&self, other: &Self) -> bool {
            self == other
        }
    }

    fn listed(cache: &Cache<u32>, objects: &[(&str, u32)]) {
        cache.apply(Change::Begin);
        for (name, value) in objects {
            cache.apply(Change::Listed((*name).to_owned(), Ok(*value)));
        }
        cache.apply(Change::Done);
    }

    #[test]
    fn nothing_is_synced_before_the_first_list_is_complete() {
        let cache = Cache::new();
        cache.apply(Change::Begin);
        cache.apply(Change::Listed("a".into(), Ok(1)));
        assert!(!cache.is_synced() && cache.all().is_empty());
        assert!(cache.apply(Change::Done));
        assert!(cache.is_synced() && cache.all().len() == 1);
    }

    #[test]
    fn f30_a_list_that_breaks_off_keeps_what_was_known() {
        let cache = Cache::new();
        listed(&cache, &[("a", 1), ("b", 2)]);
        cache.apply(Change::Begin);
        cache.apply(Change::Listed("a".into(), Ok(1)));
        assert_eq!(cache.all().len(), 2);
        // The next attempt starts from nothing.
        listed(&cache, &[("b", 3)]);
        assert_eq!(cache.all(), BTreeMap::from([("b".to_owned(), Ok(3))]));
    }

    #[test]
    fn only_a_difference_is_worth_a_pass() {
        let cache = Cache::new();
        listed(&cache, &[("a", 1)]);
        assert!(!cache.apply(Change::Set("a".into(), Ok(1))));
        assert!(cache.apply(Change::Set("a".into(), Ok(2))));
        assert!(cache.apply(Change::Set("a".into(), Err("broken".into()))));
        assert!(!cache.apply(Change::Set("a".into(), Err("broken".into()))));
        assert!(cache.apply(Change::Set("a".into(), Ok(2))));
        assert!(cache.apply(Change::Gone("a".into())));
        assert!(!cache.apply(Change::Gone("a".into())));
    }
}
