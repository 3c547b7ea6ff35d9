//! What the layer adds to a cache hit: at most one allocation. Counted by the allocator of this test's own process.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(unsafe_code)] // a global allocator cannot be written without it; the library forbids it

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::convert::Infallible;
use std::pin::pin;
use std::task::Poll;

use http::{Request, Response};
use support::*;
use tower::{Layer, Service};
use tower_introspection::{Authorities, Cached, IntrospectionLayer};

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: everything is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What one call of `service` allocates. The request is made before and dropped after the count.
fn allocations<S>(service: &mut S, request: Request<()>) -> usize
where
    S: Service<Request<()>, Response = Response<()>, Error = Infallible>,
{
    let before = ALLOCATIONS.with(Cell::get);
    let response = poll_once(&mut pin!(service.call(request)));
    let after = ALLOCATIONS.with(Cell::get);
    let Poll::Ready(Ok(response)) = response else { panic!("a hit does not wait") };
    assert_eq!(response.status(), 200);
    after - before
}

/// A request as a server hands it on: its extensions are in use, as axum's and hyper's are.
fn served(token: &str) -> Request<()> {
    let mut request = Request::builder().header("authorization", format!("Bearer {token}")).body(()).unwrap();
    request.extensions_mut().insert("from the server");
    request
}

/// With the feature `metrics` a recorder listens, as it does in production.
fn listen() {
    #[cfg(feature = "metrics")]
    let _ = metrics_exporter_prometheus::PrometheusBuilder::new().set_buckets(&[1.0]).unwrap().install_recorder();
}

fn guarded() -> impl Service<Request<()>, Response = Response<()>, Error = Infallible> {
    listen();
    let cached = Cached::new(Authority::new(active()));
    warmed(IntrospectionLayer::builder(cached).require_scope("read").build().unwrap().layer(Idle))
}

/// Asks about both tokens, so that each further request is a hit.
fn warmed<S>(mut service: S) -> S
where
    S: Service<Request<()>, Response = Response<()>, Error = Infallible>,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    for token in ["abc", "another"] {
        let response = runtime.block_on(service.call(served(token))).unwrap();
        assert_eq!(response.status(), 200);
    }
    service
}

#[test]
fn a_hit_adds_at_most_one_allocation() {
    let mut service = guarded();
    let bare = allocations(&mut Idle, served("abc"));
    let mut counts: Vec<usize> = (0..1_000).map(|_| allocations(&mut service, served("abc")) - bare).collect();
    counts.sort_unstable();
    // Once in a while moka does its own housekeeping on a reader's thread; the layer itself is in every count.
    assert_eq!(counts[counts.len() / 2], 1, "the entry in the request's extensions, and nothing else");
    let housekeeping = counts.iter().filter(|&&count| count > 1).count();
    assert!(housekeeping <= 50, "{housekeeping} of 1000 hits allocated more than once");
}

#[test]
fn with_several_authorities_a_hit_also_notes_which_was_chosen() {
    let cached = Cached::new(Authority::new(active()));
    let authorities = Authorities::choose_by(|_| Some("one".into())).authority("one", cached).build().unwrap();
    let mut service =
        warmed(IntrospectionLayer::builder(authorities).require_scope("read").build().unwrap().layer(Idle));
    let bare = allocations(&mut Idle, served("abc"));
    let mut counts: Vec<usize> = (0..1_000).map(|_| allocations(&mut service, served("abc")) - bare).collect();
    counts.sort_unstable();
    assert_eq!(counts[counts.len() / 2], 2, "the token and the name, in the request's extensions");
}

#[test]
fn in_an_empty_extension_map_the_map_itself_comes_on_top() {
    let mut service = guarded();
    let empty = || {
        let mut request = served("abc");
        *request.extensions_mut() = http::Extensions::new();
        request
    };
    let mut counts: Vec<usize> = (0..1_000).map(|_| allocations(&mut service, empty())).collect();
    counts.sort_unstable();
    let mut bare = empty();
    let before = ALLOCATIONS.with(Cell::get);
    bare.extensions_mut().insert("anything");
    let the_map = ALLOCATIONS.with(Cell::get) - before;
    assert!(counts[counts.len() / 2] <= the_map, "{} and {the_map}", counts[counts.len() / 2]);
}
