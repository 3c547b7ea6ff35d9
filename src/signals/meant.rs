//! What something is about, for what fuzzing compares.

use std::sync::{Arc, LazyLock};

use super::receiver::forget;
use super::set::{Form, Stated};
use super::source::Source;
use super::transmitter::Transmitter;
use crate::cache::cached::Cached;
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::introspect::introspector::introspect_fn;
use crate::introspect::{InactiveReason, Verdict};
use crate::jose::{KeySet, encoded};
use crate::selection::Selection;

/// Which tokens are meant by something with these claims, if it is as it has to be and whoever signed it may say so:
/// for what fuzzing compares. The transmitter is `https://a.example`, and speaks about tokens of `https://b.example`,
/// too.
#[allow(clippy::expect_used)] // for tests and fuzzing only
pub(crate) fn meant_by(claims: &[u8], is_logout: bool, now: Timestamp) -> Option<Vec<Selection>> {
    static SOURCE: LazyLock<Source> = LazyLock::new(|| {
        let key = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
        let nobody = introspect_fn(async |_| Ok(Verdict::Inactive(InactiveReason::Unknown)));
        let transmitter = Transmitter::new("https://a.example").keys(KeySet::from_json(key).expect("it is a key"));
        let transmitter = transmitter.audience("us").cache(Cached::new(nobody).handle());
        let transmitter = transmitter.token_issuer("https://a.example").token_issuer("https://b.example");
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        transmitter.open(&clock, |_| 0).expect("its settings work").0
    });
    let (form, typ) = if is_logout { (Form::Logout, "logout+jwt") } else { (Form::Event, "secevent+jwt") };
    let header = format!(r#"{{"alg":"EdDSA","typ":"{typ}"}}"#);
    let text = format!("{}.{}.{}", encoded(header.as_bytes()), encoded(claims), encoded(&[0; 64]));
    let stated = Stated::read(&text, form).ok()?;
    assert!(Stated::read(&text, if is_logout { Form::Event } else { Form::Logout }).is_err(), "it is both");
    if stated.issuer() != Some(&*SOURCE.issuer) {
        return None;
    }
    let judged = stated.judge(form, &SOURCE, now).ok()?;
    let events = stated.events(form, &SOURCE, &judged);
    assert!(!events.is_empty());
    let meant = events.iter().filter_map(|event| forget(&SOURCE, event).ok()).flatten();
    Some(meant.map(|meant| meant.selection).collect())
}
