//! Ordered lists of a few dozen entries. Each new one is put where it belongs: a sort of the
//! standard library would be there once for each kind of entry.

use alloc::vec::Vec;

/// Puts `item` where it belongs in a list that has each entry once.
pub fn insert<T: Ord>(list: &mut Vec<T>, item: T) {
    if let Err(at) = list.binary_search(&item) {
        list.insert(at, item);
    }
}

/// Puts `item` where it belongs by `key`, behind those with the same.
pub fn insert_by_key<T, K: Ord>(list: &mut Vec<T>, item: T, key: impl Fn(&T) -> K) {
    let new = key(&item);
    list.insert(list.partition_point(|known| key(known) <= new), item);
}

/// Takes out what is `gone`, each asked once; the rest keeps its order. For short lists: what is
/// behind one that goes moves each time.
pub fn take_out<T>(list: &mut Vec<T>, gone: &mut dyn FnMut(&T) -> bool) {
    let mut at = 0;
    while let Some(item) = list.get(at) {
        if gone(item) {
            list.remove(at);
        } else {
            at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_ordered_and_keep_what_they_shall() {
        let (mut once, mut pairs) = (Vec::new(), Vec::new());
        for (n, x) in [5u8, 3, 9, 3, 5, 1].into_iter().enumerate() {
            insert(&mut once, x);
            insert_by_key(&mut pairs, (x, n), |p| p.0);
        }
        assert_eq!(once, [1, 3, 5, 9]);
        assert_eq!(pairs, [(1, 5), (3, 1), (3, 3), (5, 0), (5, 4), (9, 2)]);
        let mut asked = Vec::new();
        take_out(&mut once, &mut |x| {
            asked.push(*x);
            *x > 1 && *x < 9
        });
        assert_eq!((once, asked), (Vec::from([1, 9]), Vec::from([1, 3, 5, 9])));
    }
}
