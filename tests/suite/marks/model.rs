//! Random histories against a reference set: what an invalidation covers that has returned is never let in, and
//! everything else is.

use proptest::prelude::*;
use tower_introspection::cache::Selection;
use tower_introspection::clock::Timestamp;
use tower_introspection::{AccessToken, CacheHandle};

use super::{Bench, Now};
use crate::support::{START, bearer, millis};

const TOKENS: usize = 6;
const SUBJECTS: [&str; 2] = ["ann", "bob"];

#[derive(Clone, Debug)]
enum Step {
    Passes(u64),
    /// In place of the token of this number, with or without a time of issue.
    Issues(usize, usize, bool),
    Presents(usize),
    Invalidates(Meant),
    Closure,
}

/// What an invalidation means.
#[derive(Clone, Debug)]
struct Meant {
    token: Option<usize>,
    subject: Option<usize>,
    /// Milliseconds since the start.
    issued_before: Option<i64>,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let token = || 0..TOKENS;
    let subject = || 0..SUBJECTS.len();
    let before = -2_000_i64..20_000;
    let meant = (proptest::option::of(token()), proptest::option::of(subject()), proptest::option::of(before))
        .prop_map(|(token, subject, issued_before)| Meant { token, subject, issued_before });
    let step = prop_oneof![
        2 => prop_oneof![1_u64..900, 900_u64..100_000].prop_map(Step::Passes),
        3 => (token(), subject(), prop::bool::weighted(0.8)).prop_map(|(token, of, told)| Step::Issues(token, of, told)),
        6 => token().prop_map(Step::Presents),
        2 => meant.prop_map(Step::Invalidates),
        1 => Just(Step::Closure),
    ];
    proptest::collection::vec(step, 1..80)
}

/// What is known of an issued token.
struct Issued {
    name: String,
    subject: usize,
    issued_at: Option<Timestamp>,
}

impl Issued {
    /// As the documentation of `Selection` says it.
    fn is_covered(&self, meant: &Meant, name_of: Option<&str>, moment: Timestamp) -> bool {
        let second = |of: Timestamp| of.as_unix_millis().div_euclid(1_000);
        let until_now = |issued: Timestamp| second(issued) <= second(moment);
        let before = |limit: i64| self.issued_at.is_none_or(|at| at.as_unix_millis() < START.as_unix_millis() + limit);
        name_of.is_none_or(|name| name == self.name)
            && meant.subject.is_none_or(|subject| subject == self.subject)
            && meant.issued_before.is_none_or(before)
            && (meant.token.is_some() || meant.issued_before.is_some() || self.issued_at.is_none_or(until_now))
    }
}

impl Meant {
    fn invalidates(&self, name: Option<&str>, handle: &CacheHandle) {
        let mut selection = Selection::all();
        if let Some(name) = name {
            selection = selection.and(Selection::token(&bearer(name)));
        }
        if let Some(subject) = self.subject {
            selection = selection.and(Selection::subject(SUBJECTS[subject]));
        }
        if let Some(limit) = self.issued_before {
            let moment = Timestamp::from_unix_millis(START.as_unix_millis() + limit);
            selection = selection.and(Selection::issued_before(moment));
        }
        drop(handle.invalidate(selection));
    }
}

async fn run(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let bench = Bench::plain();
    let mut issued: Vec<Option<Issued>> = (0..TOKENS).map(|_| None).collect();
    let mut invalidated: Vec<(Meant, Option<String>, Timestamp)> = Vec::new();
    for (number, step) in steps.into_iter().enumerate() {
        let now = bench.clock.now();
        match step {
            Step::Passes(time) => bench.clock.advance(millis(time)),
            Step::Issues(place, subject, told) => {
                let name = format!("t{number}");
                let issued_at = told.then_some(now);
                let facts = AccessToken::builder().subject(SUBJECTS[subject]);
                let facts = issued_at.map_or(facts.clone(), |at| facts.issued_at(at));
                bench.judge.issues(&name, facts.build());
                issued[place] = Some(Issued { name, subject, issued_at });
            }
            Step::Presents(place) => {
                let Some(token) = &issued[place] else { continue };
                let is_covered =
                    invalidated.iter().any(|(meant, name, moment)| token.is_covered(meant, name.as_deref(), *moment));
                prop_assert_eq!(bench.lets_in(&token.name).await, !is_covered);
            }
            Step::Invalidates(meant) => {
                let token = meant.token.map(|place| issued[place].as_ref().map(|token| token.name.clone()));
                // Of a token that there is not.
                let name = token.map(|name| name.unwrap_or_else(|| "none".to_owned()));
                meant.invalidates(name.as_deref(), &bench.cached.handle());
                invalidated.push((meant, name, now));
            }
            Step::Closure => drop(bench.cached.handle().invalidate_where(|_| true)),
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn what_was_invalidated_is_never_let_in_and_everything_else_is(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(run(steps))?;
    }
}
