use super::*;
use crate::cache::key::keys;
use crate::selection::Selection;

const LONGEST: Duration = Duration::from_secs(86_400);

fn at(millis: i64) -> Timestamp {
    Timestamp::from_unix_millis(millis)
}

fn marks() -> Marks {
    Marks::new(LONGEST, Duration::ZERO)
}

fn rule(selection: &Selection) -> Rule {
    selection.rule(|_| Vec::new())
}

fn of(subject: &str, issued_at: Option<i64>) -> AccessToken {
    let token = AccessToken::builder().subject(subject);
    issued_at.map_or(token.clone(), |millis| token.issued_at(at(millis))).build()
}

impl Marks {
    fn leave(&self, selection: &Selection, moment: i64) -> Option<Timestamp> {
        self.leave_of_rule(&rule(selection), None, at(moment), at(moment))
    }

    fn covers(&self, subject: &str, issued_at: Option<i64>) -> bool {
        self.cover(&[], &of(subject, issued_at))
    }

    fn counts(&self) -> (usize, usize) {
        let known = self.known();
        (known.tokens.len(), known.rules.count())
    }
}

#[test]
fn a_rule_covers_what_it_means_that_was_issued_until_its_second_is_over() {
    let marks = marks();
    assert_eq!(marks.leave(&Selection::subject("ann"), 10_500), None);
    let covered = [0, 9_999, 10_000, 10_499, 10_999, 11_000, 20_000].map(|issued| marks.covers("ann", Some(issued)));
    assert_eq!(covered, [true, true, true, true, true, false, false]);
    assert!(marks.covers("ann", None), "it may have been issued before");
    assert!(!marks.covers("bob", Some(0)) && !marks.covers("bob", None));
    marks.leave(&Selection::subject("ann"), 5_000);
    assert!(marks.covers("ann", Some(10_000)), "the later one counts");
    marks.leave(&Selection::subject("ann"), 11_000);
    assert!(marks.covers("ann", Some(11_000)));
    assert_eq!(marks.counts(), (0, 1), "they are one");
}

#[test]
fn when_a_token_has_to_be_issued_for_a_rule_is_the_earlier_of_both() {
    let marks = marks();
    let issued_before = |millis| Selection::issued_before(at(millis));
    for moment in [10_000, 20_000] {
        let selection = Selection::subject("ann").and(issued_before(5_500)).and(issued_before(7_000));
        marks.leave(&selection, moment);
    }
    assert_eq!([5_499, 5_500].map(|issued| marks.covers("ann", Some(issued))), [true, false]);
    marks.leave(&Selection::subject("ann"), 30_000);
    assert_eq!([30_999, 31_000].map(|issued| marks.covers("ann", Some(issued))), [true, false]);
    // What says when goes by the authority's clock, which is ahead by five minutes at most.
    marks.leave(&Selection::subject("ann").and(issued_before(30_500)), 30_000);
    assert_eq!([30_999, 31_000].map(|issued| marks.covers("ann", Some(issued))), [true, false]);
    marks.leave(&Selection::subject("ann").and(issued_before(329_000)), 30_000);
    assert_eq!([328_999, 329_000].map(|issued| marks.covers("ann", Some(issued))), [true, false]);
    marks.leave(&Selection::subject("ann").and(issued_before(900_000)), 30_000);
    assert_eq!([330_999, 331_000].map(|issued| marks.covers("ann", Some(issued))), [true, false]);
    assert_eq!(marks.counts(), (0, 1), "they are one");
    // Without anything else it is about every token.
    marks.leave(&issued_before(31_500), 40_000);
    assert_eq!([31_499, 31_500].map(|issued| marks.covers("bob", Some(issued))), [true, false]);
}

#[test]
fn the_floor_covers_every_token_and_takes_the_place_of_what_it_does() {
    let marks = marks();
    marks.leave(&Selection::subject("ann"), 10_000);
    marks.leave(&Selection::subject("bob"), 20_000);
    assert_eq!(marks.leave(&Selection::all(), 15_000), None);
    assert_eq!([15_999, 16_000].map(|issued| marks.covers("cid", Some(issued))), [true, false]);
    assert!(marks.covers("cid", None) && marks.covers("bob", Some(20_000)));
    assert_eq!(marks.counts(), (0, 1));
    marks.leave(&Selection::all(), 5_000);
    assert!(marks.covers("cid", Some(15_999)), "it never goes down");
    assert!(marks.known().bytes_of_rules > 0);
    marks.leave(&Selection::all(), 20_000);
    assert_eq!((marks.counts(), marks.known().bytes_of_rules), ((0, 0), 0));
}

#[test]
fn a_token_is_covered_whenever_it_was_issued_and_under_each_of_its_keys() {
    let (marks, keys) = (marks(), keys(3));
    assert_eq!(marks.leave_of_token(keys[0], None, at(10_000), at(10_000)), None);
    for issued in [None, Some(0), Some(99_000)] {
        assert!(marks.cover(&[keys[0]], &of("ann", issued)) && marks.cover(&[keys[1], keys[0]], &of("ann", issued)));
        assert!(!marks.cover(&[keys[1], keys[2]], &of("ann", issued)));
    }
}

#[test]
fn a_rule_of_one_token_covers_that_one_if_it_holds() {
    let (marks, keys) = (marks(), keys(2));
    let ann = |issued| of("ann", Some(issued));
    marks.leave_of_rule(&rule(&Selection::subject("ann")), Some(keys[0]), at(10_000), at(10_000));
    assert!(marks.cover(&[keys[0]], &ann(99_000)) && !marks.cover(&[keys[1]], &ann(0)));
    assert!(!marks.cover(&[keys[0]], &of("bob", Some(0))));
    marks.leave_of_rule(&rule(&Selection::issued_before(at(5_000))), Some(keys[1]), at(10_000), at(10_000));
    assert!(marks.cover(&[keys[1]], &ann(4_999)) && !marks.cover(&[keys[1]], &ann(5_000)));
    assert!(!marks.cover(&[], &ann(0)), "it is about one token");
}

#[test]
fn marks_of_tokens_that_have_expired_go_and_others_stay() {
    let (marks, keys) = (marks(), keys(3 * FEW_TOKENS));
    let leave = |keys: &[TokenKey], ends: Option<i64>, now| {
        assert!(keys.iter().all(|key| marks.leave_of_token(*key, ends.map(at), at(0), at(now)).is_none()));
    };
    leave(&keys[..FEW_TOKENS - 2], Some(1_000), 0);
    leave(&keys[FEW_TOKENS - 2..FEW_TOKENS - 1], None, 0);
    leave(&keys[FEW_TOKENS..=FEW_TOKENS], Some(1_001), 1_000);
    assert_eq!(marks.counts(), (2, 0), "at its expiry it has ended");
    assert!(marks.cover(&keys[FEW_TOKENS - 2..FEW_TOKENS - 1], &of("ann", None)));
    assert!(marks.cover(&keys[FEW_TOKENS..=FEW_TOKENS], &of("ann", None)));
    assert!(!marks.covers("ann", Some(0)), "nobody else is refused for it");
}

#[test]
fn when_a_token_expires_is_learned_when_it_comes() {
    let (marks, keys) = (marks(), keys(FEW_TOKENS + 1));
    marks.leave_of_token(keys[0], None, at(0), at(0));
    let token = AccessToken::builder().expires_at(at(5_000)).build();
    assert!(marks.cover(&keys[..1], &token));
    // Whoever invalidates it again does not know.
    marks.leave_of_token(keys[0], None, at(1), at(1));
    for key in &keys[1..] {
        marks.leave_of_token(*key, Some(at(5_000)), at(0), at(5_000));
    }
    assert!(!marks.cover(&keys[..1], &of("ann", None)), "it has ended");
}

#[test]
fn where_there_is_no_room_the_oldest_tokens_go_and_the_floor_covers_them() {
    let (marks, keys) = (marks(), keys(MOST_TOKENS + 1));
    let leave = |number: usize| {
        let moment = at(i64::try_from(number).unwrap() * 1_000);
        marks.leave_of_token(keys[number], None, moment, at(0))
    };
    // The newest first.
    assert!((1..=MOST_TOKENS).rev().all(|number| leave(number).is_none()));
    assert!(!marks.covers("ann", None));
    let part = MOST_TOKENS / PARTS;
    let newest = i64::try_from(part - 1).unwrap() * 1_000;
    assert_eq!(leave(0), Some(at(newest)));
    assert_eq!(marks.counts(), (MOST_TOKENS + 1 - part, 0));
    assert_eq!([newest + 999, newest + 1_000].map(|issued| marks.covers("ann", Some(issued))), [true, false]);
    assert!(marks.covers("ann", None), "it does not say when it was issued");
    assert!(marks.cover(&keys[part..=part], &of("ann", Some(i64::MAX))));
    assert!(!marks.cover(&keys[part - 1..part], &of("ann", Some(newest + 1_000))));
}

#[test]
fn where_there_is_no_room_the_oldest_rules_go_and_the_floor_covers_them() {
    let marks = marks();
    let leave = |number: usize| {
        let moment = i64::try_from(number).unwrap() * 1_000;
        marks.leave(&Selection::subject(number.to_string()), moment)
    };
    assert!((1..=MOST_RULES).rev().all(|number| leave(number).is_none()));
    assert!((1..=MOST_RULES).all(|number| leave(number).is_none()), "they are there");
    assert_eq!((marks.counts(), marks.covers("ann", None)), ((0, MOST_RULES), false));
    let part = MOST_RULES / PARTS;
    let newest = i64::try_from(part - 1).unwrap() * 1_000;
    assert_eq!(leave(0), Some(at(newest)));
    assert_eq!(marks.counts(), (0, MOST_RULES + 1 - part));
    assert_eq!([newest + 999, newest + 1_000].map(|issued| marks.covers("ann", Some(issued))), [true, false]);
    let last = MOST_RULES.to_string();
    assert!(marks.covers(&last, Some(i64::try_from(MOST_RULES).unwrap() * 1_000)));
}

#[test]
fn rules_are_bounded_by_their_bytes_too() {
    let marks = marks();
    let megabyte = |number: i64| Selection::subject(format!("{number}{}", "x".repeat(1 << 19)));
    let raised: Vec<_> = (1..20).filter_map(|number| marks.leave(&megabyte(number), number * 1_000)).collect();
    assert!(marks.known().bytes_of_rules <= MOST_BYTES_OF_RULES);
    let (_, rules) = marks.counts();
    assert!((6..=7).contains(&rules), "{rules}");
    let newest = (19 - i64::try_from(rules).unwrap()) * 1_000;
    assert_eq!(raised.last(), Some(&at(newest)));
    assert_eq!([newest, newest + 1_000].map(|issued| marks.covers("ann", Some(issued))), [true, false]);
    // One that is larger than all that may be.
    let huge = Selection::subject("x".repeat(MOST_BYTES_OF_RULES));
    assert_eq!(marks.leave(&huge, 99_000), Some(at(99_000)));
    assert_eq!((marks.counts(), marks.known().bytes_of_rules), ((0, 0), 0));
    assert_eq!([99_999, 100_000].map(|issued| marks.covers("ann", Some(issued))), [true, false]);
}

#[test]
fn no_time_is_so_far_off_that_it_wraps_around() {
    for (moment, issued) in [(i64::MAX, i64::MAX - 1), (i64::MIN, i64::MIN)] {
        let marks = marks();
        marks.leave(&Selection::subject("ann"), moment);
        assert!(marks.covers("ann", Some(issued)), "{moment}");
    }
    let marks = marks();
    marks.leave(&Selection::all(), i64::MIN);
    assert!(marks.covers("ann", None) && !marks.covers("ann", Some(0)));
}

/// A landing answer looks for its own rules.
#[test]
fn an_answer_is_compared_with_the_rules_about_it_and_no_others() {
    let marks = marks();
    for number in 0..MOST_RULES / 2 {
        marks.leave(&Selection::session(number.to_string()), 1_000);
        marks.leave(&Selection::subject(number.to_string()), 1_000);
    }
    let token = AccessToken::builder().subject("none").claim("sid", "none").unwrap().build();
    let known = marks.known();
    let compared = std::cell::Cell::new(0);
    let counts = |_: &OfRule| {
        compared.set(compared.get() + 1);
        true
    };
    assert!(!known.rules.any_holds_if(&token, counts));
    assert_eq!(compared.get(), 0);
}
