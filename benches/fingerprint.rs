//! What the fingerprint of a token costs, by the token's length: `cargo bench --bench fingerprint`, half a minute.
//!
//! The cache knows a token by SipHash-2-4 with 128 bits, whose authors vouch for it as a keyed pseudo-random function.
//! Beside it SipHash-1-3, which does half of the work and promises less. Lengths: an Apigee token, 32 random bytes in
//! base64, a long opaque token, a small JWT.

#![allow(missing_docs)]

use std::hash::Hasher;
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion};
use siphasher::sip128::{Hasher128, SipHasher13, SipHasher24};

const LENGTHS: [usize; 4] = [28, 43, 128, 900];

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("fingerprint");
    for length in LENGTHS {
        let token = "a".repeat(length);
        group.bench_with_input(BenchmarkId::new("SipHash-2-4-128", length), &token, |bencher, token| {
            bencher.iter(|| fingerprint(SipHasher24::new_with_keys(1, 2), black_box(token)));
        });
        group.bench_with_input(BenchmarkId::new("SipHash-1-3-128", length), &token, |bencher, token| {
            bencher.iter(|| fingerprint(SipHasher13::new_with_keys(1, 2), black_box(token)));
        });
    }
    group.finish();
    criterion.final_summary();
}

fn fingerprint(mut hasher: impl Hasher + Hasher128, token: &str) -> u128 {
    hasher.write(token.as_bytes());
    hasher.finish128().as_u128()
}
