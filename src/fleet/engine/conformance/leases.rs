//! The lease to ask the authority.

use std::slice;
use std::time::Duration;

use super::{MINUTE, ROUNDING, Subject, look, some_name, some_node, version};
use crate::fleet::engine::{Claim, Lease};

const SHORT: Duration = Duration::from_millis(100);

pub(crate) async fn the_first_claim_gets_the_lease_and_the_second_learns_whose_it_is(subject: &Subject) {
    let (name, first, second) = (some_name(), some_node(), some_node());
    let claimed = subject.claim(&name, first).await;
    assert_eq!((claimed.lease, claimed.value), (Lease::Ours, None));
    let Lease::Of(whose, left) = subject.claim(&name, second).await.lease else { panic!("no lease") };
    assert_eq!(whose, first);
    assert!(left > MINUTE / 2 && left <= MINUTE, "{left:?}");
}

pub(crate) async fn the_node_that_has_the_lease_gets_it_again(subject: &Subject) {
    let (name, node) = (some_name(), some_node());
    for _ in 0..3 {
        assert_eq!(subject.claim(&name, node).await.lease, Lease::Ours);
    }
}

pub(crate) async fn a_lease_ends_by_itself(subject: &Subject) {
    let (name, first, second) = (some_name(), some_node(), some_node());
    let given = subject.claim_for(&name, first, SHORT).await.now;
    subject
        .until(async || {
            let claimed = subject.claim(&name, second).await;
            match claimed.lease {
                Lease::Of(whose, left) => assert!(whose == first && left <= SHORT),
                lease => assert!(lease == Lease::Ours && claimed.now >= given + 100 - ROUNDING),
            }
            claimed.lease == Lease::Ours
        })
        .await;
}

pub(crate) async fn a_lease_that_is_renewed_lasts(subject: &Subject) {
    let (names, first, second) = ([some_name(), some_name()], some_node(), some_node());
    for name in &names {
        assert_eq!(subject.claim_for(name, first, MINUTE / 2).await.lease, Lease::Ours);
    }
    subject.engine.renew(&names, first, 10 * MINUTE).await.unwrap();
    for name in &names {
        let Lease::Of(whose, left) = subject.claim(name, second).await.lease else { panic!("no lease") };
        assert!(whose == first && left > 9 * MINUTE, "{left:?}");
    }
    subject.engine.renew(&[], first, MINUTE).await.unwrap();
}

pub(crate) async fn only_the_node_that_has_a_lease_renews_it(subject: &Subject) {
    let (name, first, second) = (some_name(), some_node(), some_node());
    subject.claim(&name, first).await;
    subject.engine.renew(slice::from_ref(&name), second, 10 * MINUTE).await.unwrap();
    let Lease::Of(whose, left) = subject.claim(&name, second).await.lease else { panic!("no lease") };
    assert!(whose == first && left <= MINUTE, "{left:?}");
}

pub(crate) async fn a_lease_that_has_ended_is_not_renewed(subject: &Subject) {
    let (name, first, second) = (some_name(), some_node(), some_node());
    subject.engine.renew(slice::from_ref(&name), first, MINUTE).await.unwrap();
    assert_eq!(subject.claim_for(&name, second, SHORT).await.lease, Lease::Ours);
    let given = subject.now().await;
    subject.until(async || subject.now().await > given + 100 + ROUNDING).await;
    subject.engine.renew(slice::from_ref(&name), second, MINUTE).await.unwrap();
    assert_eq!(subject.claim(&name, first).await.lease, Lease::Ours);
}

pub(crate) async fn a_claim_that_only_looks_takes_no_lease(subject: &Subject) {
    let (name, first, second) = (some_name(), some_node(), some_node());
    assert_eq!(subject.claim_with(look(&name, first)).await.lease, Lease::NotNeeded);
    assert_eq!(subject.claim(&name, second).await.lease, Lease::Ours);
    assert_eq!(subject.claim_with(look(&name, first)).await.lease, Lease::NotNeeded);
}

pub(crate) async fn release_gives_up_the_lease_of_this_node_only(subject: &Subject) {
    let (name, first, second) = (some_name(), some_node(), some_node());
    subject.claim(&name, first).await;
    subject.engine.release(&name, second).await.unwrap();
    assert!(matches!(subject.claim(&name, second).await.lease, Lease::Of(..)));
    subject.engine.release(&name, first).await.unwrap();
    assert_eq!(subject.claim(&name, second).await.lease, Lease::Ours);
}

pub(crate) async fn put_gives_up_the_lease_of_this_node_only(subject: &Subject) {
    let (name, first, second) = (some_name(), some_node(), some_node());
    let now = subject.claim(&name, first).await.now;
    subject.put(&name, second, version(now)).await;
    // It does not serve whoever wants a newer one.
    let newer = |node| Claim { newer_than: Some(version(now + 1)), lease: Some(MINUTE), ..look(&name, node) };
    assert!(matches!(subject.claim_with(newer(second)).await.lease, Lease::Of(..)));
    subject.put(&name, first, version(now + 1)).await;
    assert_eq!(subject.claim_with(newer(second)).await.lease, Lease::Ours);
}

pub(crate) async fn a_put_that_stores_nothing_gives_up_the_lease(subject: &Subject) {
    let (name, first, second) = (some_name(), some_node(), some_node());
    let now = subject.claim(&name, first).await.now;
    assert!(!subject.put_with(&name, first, version(now), true).await.is_stored);
    assert_eq!(subject.claim(&name, second).await.lease, Lease::Ours);
}

pub(crate) async fn names_have_leases_of_their_own(subject: &Subject) {
    let (one, other) = (some_name(), some_name());
    assert_eq!(subject.claim(&one, some_node()).await.lease, Lease::Ours);
    assert_eq!(subject.claim(&other, some_node()).await.lease, Lease::Ours);
}
