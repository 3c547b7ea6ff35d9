//! Who is asked by whom, and for what: what tells the answers of one endpoint from those of another.

use std::fmt::{self, Write};

/// The same in all processes with the same configuration. Whoever takes it out of the process makes a keyed hash of it.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Authority {
    /// The endpoint's, or the issuer's where the endpoint is found in its metadata; with Apigee that of the
    /// organisation.
    pub(crate) url: String,
    /// The client's identifier or the name of the account; empty where only a secret tells who it is.
    pub(crate) client: String,
    pub(crate) reading: Reading,
}

/// The settings by which the authority may say something else of the same token, or its answer may be read in another
/// way. Those that are as by default are not in it, so that a setting which a later release adds changes nothing for
/// who does not use it.
///
/// It may hold a secret, as a parameter's value, so there is no `Debug`.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Reading(String);

impl Reading {
    /// Adds a setting that is not as by default. Each value has its length before it, so that no two lists of settings
    /// come to the same text.
    pub(crate) fn note(&mut self, setting: &'static str, values: &[&str]) {
        self.0.push_str(setting);
        for value in values {
            // Writing to a string does not fail.
            let _ = write!(self.0, " {} {value}", value.len());
        }
        self.0.push('\n');
    }

    /// Adds who another one is, and its settings.
    #[cfg(feature = "jwt")]
    pub(crate) fn note_all(&mut self, other: &Authority) {
        self.note("after", &[&other.url, &other.client, &other.reading.0]);
    }

    /// Empty if all is as by default.
    #[cfg_attr(not(any(test, feature = "redis")), allow(dead_code))]
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { url, client, reading: _ } = self;
        f.debug_struct("Authority").field("url", url).field("client", client).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn noted(settings: &[(&'static str, &[&str])]) -> String {
        let mut reading = Reading::default();
        settings.iter().for_each(|(setting, values)| reading.note(setting, values));
        reading.as_str().to_owned()
    }

    #[test]
    fn no_two_lists_of_settings_come_to_one_text() {
        let lists: [&[(&'static str, &[&str])]; 8] = [
            &[],
            &[("parameter", &["a", "b"])],
            &[("parameter", &["a b", ""])],
            &[("parameter", &["", "a b"])],
            &[("parameter", &["a 1 b", ""])],
            &[("parameter", &["a", "b\nparameter 1 c 1 d"])],
            &[("parameter", &["a", "b"]), ("parameter", &["c", "d"])],
            &[("parameter", &["c", "d"]), ("parameter", &["a", "b"])],
        ];
        let texts: HashSet<_> = lists.iter().map(|list| noted(list)).collect();
        assert_eq!(texts.len(), lists.len());
        assert_eq!(noted(&[("parameter", &["a", "\u{e4}"]), ("b", &[])]), "parameter 1 a 2 \u{e4}\nb\n");
    }

    #[test]
    fn a_log_never_shows_what_a_parameter_holds() {
        let mut authority =
            Authority { url: "https://as.example".into(), client: "my-api".into(), ..Authority::default() };
        authority.reading.note("parameter", &["api_key", "hush"]);
        assert_eq!(format!("{authority:?}"), r#"Authority { url: "https://as.example", client: "my-api", .. }"#);
    }
}
