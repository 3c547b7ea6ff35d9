use std::collections::HashSet;
use std::sync::Mutex;

use super::super::key::keys;
use super::*;

const LONG: Duration = Duration::from_secs(3_600);

#[derive(Clone)]
struct Numbered {
    entry: usize,
    key: TokenKey,
    number: u64,
}

impl Entry for Numbered {
    fn key(&self) -> TokenKey {
        self.key
    }

    fn number(&self) -> u64 {
        self.number
    }
}

fn insert(entries: &Entries<Numbered>, key: TokenKey, entry: usize, lasts: Duration) {
    entries.insert(lasts, |number| Numbered { entry, key, number });
}

fn with_capacity(capacity: u64) -> Entries<Numbered> {
    Entries::new("test", capacity, || ())
}

fn present(entries: &Entries<Numbered>, key: TokenKey) -> Option<usize> {
    entries.tell_of_read(key);
    entries.get(key).map(|present| present.entry)
}

/// Both places hold the same entries. moka does not show those that are over, though it has them for a moment longer.
fn agree(entries: &Entries<Numbered>) {
    entries.tidy();
    let index: HashSet<TokenKey, UniformState> = entries.keys_where(|_| true).into_iter().collect();
    let kept: HashSet<TokenKey, UniformState> = entries.keeper.iter().map(|(key, _)| *key).collect();
    assert!(kept.is_subset(&index), "moka keeps what is not in the index");
    assert_eq!((index.len() as u64, entries.len()), (entries.keeper.entry_count(), entries.keeper.entry_count()));
}

#[test]
fn what_was_removed_is_gone_at_once() {
    let (entries, keys) = (with_capacity(10), keys(3));
    keys.iter().enumerate().for_each(|(n, key)| insert(&entries, *key, n, LONG));
    entries.remove(keys[1]);
    assert_eq!(keys.iter().map(|key| present(&entries, *key)).collect::<Vec<_>>(), [Some(0), None, Some(2)]);
    drop(entries.clear());
    assert!(keys.iter().all(|key| present(&entries, *key).is_none()));
    insert(&entries, keys[0], 7, LONG);
    agree(&entries);
    assert_eq!(present(&entries, keys[0]), Some(7), "the clearing is no concern of what came after it");
}

#[test]
fn what_has_no_room_leaves_the_index_too() {
    let evicted = Arc::new(AtomicU64::new(0));
    let entries = Entries::new("test", 10, {
        let evicted = Arc::clone(&evicted);
        move || {
            evicted.fetch_add(1, Ordering::Relaxed);
        }
    });
    for (n, key) in keys(1_005).into_iter().enumerate() {
        insert(&entries, key, n, LONG);
        agree(&entries);
        assert_eq!(entries.len(), (n as u64 + 1).min(10), "{n}");
    }
    assert_eq!(evicted.load(Ordering::Relaxed), 995);
}

#[test]
fn what_lasts_longer_than_moka_can_count_is_remembered() {
    let (entries, keys) = (with_capacity(10), keys(1));
    insert(&entries, keys[0], 0, Duration::MAX);
    agree(&entries);
    assert_eq!(present(&entries, keys[0]), Some(0));
}

#[test]
fn what_lasts_for_months_is_kept_for_months() {
    const MONTHS: Duration = Duration::from_secs(200 * 24 * 60 * 60);
    let (entries, keys) = (with_capacity(10), keys(1));
    insert(&entries, keys[0], 0, MONTHS);
    assert_eq!(entries.keeper.get(&keys[0]).map(|kept| kept.lasts()), Some(MONTHS));
}

#[test]
fn an_entry_in_the_place_of_another_has_a_time_of_its_own() {
    let (entries, keys) = (with_capacity(10), keys(1));
    let is_kept_after = |lasts| {
        insert(&entries, keys[0], 0, lasts);
        entries.keeper.contains_key(&keys[0])
    };
    assert!(is_kept_after(LONG) && is_kept_after(LONG));
    assert!(!is_kept_after(Duration::ZERO));
    assert!(is_kept_after(LONG));
}

#[test]
fn the_end_of_an_entry_is_not_the_end_of_the_one_that_took_its_place() {
    let (entries, keys) = (with_capacity(10), keys(1));
    insert(&entries, keys[0], 0, Duration::ZERO);
    insert(&entries, keys[0], 1, LONG);
    agree(&entries);
    assert_eq!(present(&entries, keys[0]), Some(1));
}

#[test]
fn without_room_nothing_is_remembered() {
    let (entries, keys) = (with_capacity(0), keys(1));
    insert(&entries, keys[0], 0, LONG);
    assert_eq!((present(&entries, keys[0]), entries.len()), (None, 0));
}

#[test]
fn what_is_read_often_gets_room_and_keeps_it() {
    let (entries, keys) = (with_capacity(100), keys(10_000));
    let (hot, passing) = keys.split_at(20);
    passing[..100].iter().enumerate().for_each(|(n, key)| insert(&entries, *key, n, LONG));
    entries.tidy();
    let ask_again = |key: &TokenKey, n| {
        if present(&entries, *key).is_none() {
            insert(&entries, *key, n, LONG);
        }
    };
    for n in 0..1_000 {
        hot.iter().for_each(|key| ask_again(key, n));
        entries.tidy();
    }
    assert!(hot.iter().all(|key| present(&entries, *key).is_some()), "it had to make room for them");
    for (n, key) in passing.iter().enumerate() {
        ask_again(key, n);
        ask_again(&hot[n % hot.len()], n);
    }
    entries.tidy();
    assert!(hot.iter().all(|key| present(&entries, *key).is_some()), "it made room for others");
}

#[test]
fn a_hundred_reads_are_enough_to_keep_a_place() {
    let (entries, keys) = (with_capacity(100), keys(2_100));
    let (first, passing) = keys.split_at(100);
    first.iter().enumerate().for_each(|(n, key)| insert(&entries, *key, n, LONG));
    entries.tidy();
    // The first of them to go, were it not for these reads.
    let read = &first[..20];
    for _ in 0..100 {
        read.iter().for_each(|key| entries.tell_of_read(*key));
        entries.tidy();
    }
    for (n, key) in passing.iter().enumerate() {
        entries.tell_of_read(*key);
        insert(&entries, *key, n, LONG);
        entries.tidy();
    }
    // One in 600 is never sampled.
    let kept = read.iter().filter(|key| entries.get(**key).is_some()).count();
    assert!(kept >= 16, "{kept}");
}

/// How often each of a hundred tokens that come into use is asked about until it is remembered, in a cache full of
/// others that were read so often and are not any more.
fn questions_in_a_cache_of_idle(reads: usize) -> usize {
    let (entries, keys) = (with_capacity(1_000), keys(1_100));
    let (idle, new) = keys.split_at(1_000);
    idle.iter().enumerate().for_each(|(n, key)| insert(&entries, *key, n, LONG));
    entries.tidy();
    for _ in 0..reads {
        idle.iter().for_each(|key| entries.tell_of_read(*key));
        entries.tidy();
    }
    let mut questions = 0;
    for n in 0..400 {
        for key in new {
            if present(&entries, *key).is_none() {
                insert(&entries, *key, n, LONG);
                questions += 1;
            }
        }
        entries.tidy();
    }
    questions / new.len()
}

#[test]
fn in_a_full_cache_a_token_that_comes_into_use_is_soon_remembered() {
    for (reads, bound) in [(0, 4), (200, 30)] {
        let questions = questions_in_a_cache_of_idle(reads);
        assert!(questions <= bound, "{questions} for {reads}");
    }
}

#[test]
fn one_read_in_sixteen_is_a_sample() {
    let samples = (0..160_000).filter(|_| is_one_in(READS_PER_SAMPLE, draw())).count();
    assert!((9_500..10_500).contains(&samples), "{samples}");
}

#[test]
fn threads_that_read_only_once_are_sampled_too() {
    let is_sampled = || std::thread::spawn(|| is_one_in(READS_PER_SAMPLE, draw())).join().unwrap();
    let samples = (0..800).filter(|_| is_sampled()).count();
    assert!((10..150).contains(&samples), "{samples}");
}

#[test]
fn however_many_change_them_the_index_and_moka_agree() {
    let (entries, keys, lock) = (with_capacity(50), keys(200), Mutex::new(()));
    std::thread::scope(|scope| {
        for seed in 1..=4_u64 {
            let (entries, keys, lock) = (&entries, &keys, &lock);
            scope.spawn(move || {
                let mut random = seed;
                for n in 0..20_000 {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(seed);
                    let key = keys[usize::try_from(random >> 33).unwrap() % keys.len()];
                    if random >> 61 == 0 {
                        entries.tidy();
                    }
                    let _changing = lock.lock().unwrap();
                    match random << 4 >> 60 {
                        0 => _ = entries.remove(key),
                        1 if n % 100 == 0 => drop(entries.clear()),
                        2 => insert(entries, key, n, Duration::ZERO),
                        3..8 => insert(entries, key, n, LONG),
                        _ => drop(present(entries, key)),
                    }
                }
            });
        }
    });
    agree(&entries);
    assert!(entries.len() <= 50);
}
