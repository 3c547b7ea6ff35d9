//! The whole public API as a list, `api.txt`, so that a change of it is seen and decided; and what holds for all of it.
//!
//! `bash .ci/public-api` runs this, and `UPDATE_SNAPSHOTS=yes bash .ci/public-api` writes the list.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use public_api::PublicApi;

/// Crates whose types may stand in the API whatever features are on. (`serde` is `serde_core` to rustdoc.)
const ALWAYS: [&str; 8] =
    ["alloc", "core", "http", "serde_core", "std", "tower_introspection", "tower_layer", "tower_service"];

/// Features that bring in the types of another crate, and that crate.
const BY_FEATURE: [(&str, &[&str]); 4] = [
    ("axum", &["axum_core"]),
    ("http-client", &["reqwest"]),
    // A service that reads bodies.
    ("signals", &["http_body"]),
    ("tonic", &["tonic"]),
];

struct Listings {
    /// With all features.
    all: PublicApi,
    /// The same with the implementations of `Send` and the like.
    with_auto_traits: PublicApi,
    /// With all features but those of `BY_FEATURE`.
    without_foreign: PublicApi,
}

static LISTINGS: LazyLock<Listings> = LazyLock::new(|| {
    let features = features();
    let own: Vec<_> =
        features.iter().filter(|name| BY_FEATURE.iter().all(|(other, _)| other != name)).cloned().collect();
    // Both are written to the same file, so this one is read before the next one is made.
    let json = rustdoc_json(&["--no-default-features", "--features", &own.join(",")]);
    let without_foreign = public_api::Builder::from_rustdoc_json(json).omit_blanket_impls(true).build().unwrap();
    let json = rustdoc_json(&["--all-features"]);
    let listing = || public_api::Builder::from_rustdoc_json(&json).omit_blanket_impls(true);
    Listings {
        all: listing().omit_auto_trait_impls(true).build().unwrap(),
        with_auto_traits: listing().build().unwrap(),
        without_foreign,
    }
});

#[test]
fn the_public_api_is_what_the_list_says() {
    LISTINGS.all.assert_eq_or_update(Path::new(env!("CARGO_MANIFEST_DIR")).join("api.txt"));
}

#[test]
fn every_public_type_is_send_sync_and_debug() {
    let lines = lines(&LISTINGS.with_auto_traits);
    // Futures are polled in one place at a time.
    let futures = implementors(&lines, "core::future::future::Future");
    let (send, sync) = (implementors(&lines, "core::marker::Send"), implementors(&lines, "core::marker::Sync"));
    let debug = implementors(&lines, "core::fmt::Debug");
    let types = types(&lines);
    assert!(types.len() > 20, "{types:?}");
    for name in types.values().flatten() {
        assert!(send.contains(name), "{name} is not Send");
        assert!(sync.contains(name) || futures.contains(name), "{name} is not Sync");
        assert!(debug.contains(name), "{name} is not Debug");
    }
}

#[test]
fn every_public_type_and_trait_has_one_path() {
    let lines = lines(&LISTINGS.all);
    for (name, paths) in types(&lines).into_iter().chain(named(&lines, &["trait", "type", "macro"])) {
        assert_eq!(paths.len(), 1, "{name} has several paths: {paths:?}");
    }
    let reexports: Vec<_> = lines.iter().filter(|line| line.starts_with("pub use ")).collect();
    assert!(reexports.is_empty(), "{reexports:#?}");
}

#[test]
fn no_foreign_type_is_public_but_those_that_features_name() {
    let by_feature = BY_FEATURE.iter().flat_map(|(_, crates)| crates.iter().copied());
    let allowed: Vec<_> = by_feature.chain(ALWAYS).collect();
    for line in lines(&LISTINGS.all) {
        for name in crates(&line) {
            assert!(allowed.contains(&name), "`{name}` is in the public API: {line}");
        }
        // Nothing else of that crate, and nowhere else.
        if line.contains("reqwest::") {
            assert!(line.contains("::http_client(self, reqwest::async_impl::client::Client)"), "{line}");
        }
    }
}

#[test]
fn types_of_frameworks_and_clients_come_with_their_features_only() {
    for line in lines(&LISTINGS.without_foreign) {
        for name in crates(&line) {
            assert!(ALWAYS.contains(&name), "`{name}` is in the public API without its feature: {line}");
        }
    }
    let all: BTreeSet<_> = lines(&LISTINGS.all).iter().flat_map(|line| crates(line)).map(str::to_owned).collect();
    let features = features();
    for (feature, crates) in BY_FEATURE {
        assert!(features.contains(feature), "there is no feature `{feature}`");
        assert!(crates.iter().all(|name| all.contains(*name)), "`{feature}` brings none of {crates:?}");
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

fn cargo(arguments: &[&str]) -> Vec<u8> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(arguments).current_dir(repository()).env("RUSTDOC", concat!(env!("CARGO_MANIFEST_DIR"), "/rustdoc"));
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn metadata() -> serde_json::Value {
    serde_json::from_slice(&cargo(&["metadata", "--no-deps", "--format-version=1", "--locked"])).unwrap()
}

fn features() -> BTreeSet<String> {
    let metadata = metadata();
    metadata["packages"][0]["features"].as_object().unwrap().keys().cloned().collect()
}

fn rustdoc_json(features: &[&str]) -> PathBuf {
    let rustdoc = ["--", "-Zunstable-options", "--output-format=json"];
    cargo(&[&["rustdoc", "--lib", "--locked", "--quiet"], features, &rustdoc].concat());
    Path::new(metadata()["target_directory"].as_str().unwrap()).join("doc/tower_introspection.json")
}

fn lines(listing: &PublicApi) -> Vec<String> {
    listing.items().map(ToString::to_string).collect()
}

/// All types, by name.
fn types(lines: &[String]) -> BTreeMap<String, BTreeSet<String>> {
    named(lines, &["struct", "enum", "union"])
}

/// The paths of what is declared with one of these words, by name.
fn named(lines: &[String], words: &[&str]) -> BTreeMap<String, BTreeSet<String>> {
    let mut named = BTreeMap::<_, BTreeSet<_>>::new();
    for line in lines {
        let declaration = line.trim_start_matches("#[non_exhaustive] ").trim_start_matches("pub ");
        let Some((word, rest)) = declaration.split_once(' ') else { continue };
        // The path alone, without parameters.
        let path = rest.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).next().unwrap();
        // An associated type belongs to its trait.
        let of_a_trait =
            word == "type" && path.rsplit("::").nth(1).is_some_and(|parent| parent.starts_with(char::is_uppercase));
        if words.contains(&word) && line.contains("pub ") && !of_a_trait {
            let name = path.rsplit("::").next().unwrap();
            named.entry(name.to_owned()).or_default().insert(path.to_owned());
        }
    }
    named
}

/// The paths of the types that have this trait, be it on conditions.
fn implementors(lines: &[String], wanted: &str) -> BTreeSet<String> {
    let implementor = |line: &String| {
        let (before, after) = line.strip_prefix("impl")?.split_once(" for ")?;
        let path = after.split(['<', ' ']).next()?;
        before.ends_with(&format!(" {wanted}")).then(|| path.to_owned())
    };
    lines.iter().filter_map(implementor).collect()
}

/// The crates that paths in this line begin with.
fn crates(line: &str) -> Vec<&str> {
    // A bound by which this macro's crate keeps others from implementing `Unpin`; nobody can name it.
    if line.starts_with("impl<'__pin") {
        return Vec::new();
    }
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let mut crates = Vec::new();
    for (end, _) in line.match_indices("::") {
        let start = line[..end].rfind(|c| !is_part(c)).map_or(0, |before| before + 1);
        let (before, name) = (&line[..start], &line[start..end]);
        if !before.ends_with("::") && name.starts_with(|c: char| c.is_lowercase() || c == '_') {
            crates.push(name);
        }
    }
    crates
}
