//! What the processes of a fleet tell each other, sealed, to find out what cannot hold together.

use serde::{Deserialize, Serialize};

use super::engine::Epoch;

/// Of one process.
#[derive(Clone, Default, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Settings {
    pub(super) caches: Vec<CacheSettings>,
    /// In milliseconds; `None` if it is not strict.
    pub(super) strict_lease: Option<u64>,
    /// The epoch of the log that it reads.
    pub(super) epoch: Option<Epoch>,
    /// Which process it is.
    pub(super) node: u128,
    /// The number of the last record of that log that it has applied.
    pub(super) applied: u64,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct CacheSettings {
    pub(crate) name: String,
    /// The authority that is asked, and as which client.
    pub(crate) authority: [String; 2],
    /// How it is asked and its answers are read, as a keyed hash with each secret of the process: a process that can
    /// open this has one of the secrets.
    pub(crate) readings: Vec<String>,
    /// How long after it was asked for an answer may be in use, in milliseconds.
    pub(crate) reach: u64,
}

impl CacheSettings {
    fn reads_like(&self, other: &Self) -> bool {
        self.readings.iter().any(|reading| other.readings.contains(reading))
    }

    /// Why this cache and those of its name in another process do not share answers.
    fn mismatch(&self, of_this_name: &[&Self]) -> Option<String> {
        let mut of_this_authority = of_this_name.iter().filter(|other| other.authority == self.authority).peekable();
        let name = &self.name;
        if of_this_name.is_empty() {
            None
        } else if of_this_authority.peek().is_none() {
            Some(format!(
                "the cache `{name}` asks another authority, or as another client, in another process: they share nothing"
            ))
        } else if of_this_authority.any(|other| self.reads_like(other)) {
            None
        } else {
            Some(format!(
                "the cache `{name}` reads answers in another way in another process: they share invalidations and no \
                 answers until `parameter`, `token_type_hint`, `send_token_type_hint`, `require_token_type`, \
                 `allow_unexpiring` and `verify_token_echo` of its endpoint are the same in both"
            ))
        }
    }
}

impl Settings {
    /// What does not go together with the settings of another process.
    pub(super) fn mismatches(&self, other: &Self) -> Vec<String> {
        let mut found = Vec::new();
        if self.strict_lease != other.strict_lease {
            found.push("`strict` is not the same in all processes: an awaited invalidation promises too much".into());
        }
        found.extend(self.caches.iter().filter_map(|cache| {
            let of_this_name: Vec<_> = other.caches.iter().filter(|theirs| theirs.name == cache.name).collect();
            cache.mismatch(&of_this_name)
        }));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(name: &str, authority: &str, readings: &[&str]) -> CacheSettings {
        let readings = readings.iter().map(|&reading| reading.to_owned()).collect();
        CacheSettings { name: name.into(), authority: [authority.into(), "my-api".into()], readings, reach: 1 }
    }

    /// What a process with `own` has to say of one with `others`.
    fn told(own: &[CacheSettings], others: &[CacheSettings]) -> Vec<String> {
        let settings = |caches: &[CacheSettings]| Settings { caches: caches.to_vec(), ..Settings::default() };
        settings(own).mismatches(&settings(others))
    }

    #[test]
    fn caches_of_one_name_that_share_answers_go_together() {
        let own = [cache("a", "x", &["1"]), cache("b", "y", &["2"])];
        assert!(told(&own, &own).is_empty());
        assert!(told(&own, &[]).is_empty(), "it has no such cache");
        assert!(told(&own, &[cache("c", "z", &["3"])]).is_empty());
        // While the secret is changed, each process knows its own two.
        assert!(told(&[cache("a", "x", &["new", "old"])], &[cache("a", "x", &["old"])]).is_empty());
        // Several of one name: one that shares is enough.
        assert!(
            told(&own[..1], &[cache("a", "y", &["2"]), cache("a", "x", &["2"]), cache("a", "x", &["1"])]).is_empty()
        );
    }

    #[test]
    fn another_authority_and_another_way_to_read_its_answers_are_told_apart() {
        let own = [cache("a", "x", &["1"])];
        let one = |others: &[CacheSettings]| {
            let told = told(&own, others);
            assert_eq!(told.len(), 1, "{told:?}");
            told.concat()
        };
        assert!(one(&[cache("a", "y", &["1"])]).starts_with("the cache `a` asks another authority"));
        for others in [vec![cache("a", "x", &["2", "3"])], vec![cache("a", "x", &["2"]), cache("a", "y", &["1"])]] {
            assert!(one(&others).starts_with("the cache `a` reads answers in another way"));
        }
    }

    #[test]
    fn a_lease_that_only_one_has_is_told() {
        let strict = |strict_lease| Settings { strict_lease, ..Settings::default() };
        let told = strict(Some(1_000)).mismatches(&strict(None));
        assert!(told.len() == 1 && told[0].starts_with("`strict`"), "{told:?}");
        assert!(strict(Some(1_000)).mismatches(&strict(Some(1_000))).is_empty());
    }
}
