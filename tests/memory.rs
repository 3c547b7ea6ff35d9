//! What a cache takes at most, however large its authority's answers are. Counted by the allocator of this test's own
//! process, so there is one test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(unsafe_code)] // a global allocator cannot be written without it; the library forbids it

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use support::*;
use tower_introspection::introspect::Ask;
use tower_introspection::{AccessToken, Cached, Introspect, Scopes, Verdict, introspect_fn};

static BYTES: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: everything is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.fetch_add(layout.size(), Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const CAPACITY: usize = 1_000;

/// What a cache takes that was asked about twice as many tokens as it has room for, and how many it remembers. The
/// facts of each take so many bytes in `claim`, or in its scopes.
async fn filled(claim: usize, scopes: usize) -> (usize, u64) {
    let before = BYTES.load(Ordering::Relaxed);
    let token = AccessToken::builder().claim("c", "x".repeat(claim)).unwrap();
    let token = token.scopes(Scopes::parse(&"s".repeat(scopes))).build();
    let cached = Cached::builder(introspect_fn(move |_| std::future::ready(Ok(Verdict::Active(token.clone())))));
    let cached = cached.max_capacity(CAPACITY as u64).build().unwrap();
    for n in 0..2 * CAPACITY {
        assert!(cached.introspect(Ask::new(&bearer(&format!("token-{n}")))).await.unwrap().is_active());
    }
    let entries = cached.handle().stats().entries;
    (BYTES.load(Ordering::Relaxed) - before, entries)
}

#[tokio::test]
async fn however_large_answers_are_a_cache_takes_less_than_five_kibibytes_for_each_token_of_its_capacity() {
    // What a process allocates once.
    filled(0, 0).await;
    for (claim, scopes, weight) in
        [(0, 0, 1), (4_000, 0, 1), (4_100, 0, 2), (65_000, 0, 16), (0, 65_000, 16), (200_000, 0, 49)]
    {
        let (bytes, entries) = filled(claim, scopes).await;
        println!("{claim} and {scopes} bytes of facts: {} bytes for each of {CAPACITY}", bytes / CAPACITY);
        assert!(bytes < CAPACITY * 5 * 1024, "{bytes} bytes of facts with {claim} and {scopes}");
        assert_eq!(entries, (CAPACITY / weight) as u64, "{claim}, {scopes}");
    }
}
