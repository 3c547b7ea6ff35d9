//! Values, and which of them serve.

use std::time::Duration;

use super::{EPOCH, MINUTE, ROUNDING, Subject, look, some_name, some_node, value, version};
use crate::fleet::engine::{Claim, Lease, Put, Stored, Version};

const NEW: Stored = Stored { had_value: false, is_stored: true };
const REPLACED: Stored = Stored { had_value: true, is_stored: true };

pub(crate) async fn what_is_put_serves_the_next_claim(subject: &Subject) {
    let (name, node) = (some_name(), some_node());
    let now = subject.claim(&name, node).await.now;
    assert_eq!(subject.put(&name, node, version(now)).await, NEW);
    for node in [node, some_node()] {
        let claimed = subject.claim(&name, node).await;
        assert_eq!(claimed.lease, Lease::NotNeeded);
        assert_eq!(claimed.value, Some(value(version(now), b"sealed")));
    }
    assert_eq!(subject.look(&some_name()).await, None);
}

pub(crate) async fn values_are_any_bytes(subject: &Subject) {
    let all: Vec<u8> = (0..=u8::MAX).collect();
    let now = subject.now().await;
    for sealed in [Vec::new(), all.clone(), all.repeat(256)] {
        let (name, version) = (some_name(), version(now));
        let value = value(version, &sealed);
        let (node, until) = (some_node(), now + 60_000);
        let put = Put { name: &name, node, value: &value, version, until, only_replace: false };
        assert_eq!(subject.engine.put(put).await.unwrap(), NEW);
        assert_eq!(subject.look(&name).await, Some(value));
    }
}

pub(crate) async fn a_value_that_is_too_old_is_told_but_does_not_serve(subject: &Subject) {
    let (name, node) = (some_name(), some_node());
    let asked_at = subject.now().await - 30_000;
    subject.put(&name, node, version(asked_at)).await;
    let at_most = |age| Claim { max_age: age, lease: Some(MINUTE), ..look(&name, node) };
    assert_eq!(subject.claim_with(at_most(MINUTE)).await.lease, Lease::NotNeeded);
    assert_eq!(subject.claim_with(at_most(Duration::MAX)).await.lease, Lease::NotNeeded);
    for too_little in [Duration::from_millis(29_999), Duration::ZERO] {
        let claimed = subject.claim_with(at_most(too_little)).await;
        assert_eq!(claimed.lease, Lease::Ours, "{too_little:?}");
        assert_eq!(claimed.value, Some(value(version(asked_at), b"sealed")));
    }
}

pub(crate) async fn a_value_that_is_not_newer_than_asked_for_does_not_serve(subject: &Subject) {
    let name = some_name();
    let there = version(subject.now().await);
    subject.put(&name, some_node(), there).await;
    let newer_than = async |known: Version| {
        let node = some_node();
        let claim = Claim { newer_than: Some(known), lease: Some(MINUTE), ..look(&name, node) };
        let claimed = subject.claim_with(claim).await;
        assert!(claimed.value.is_some());
        subject.engine.release(&name, node).await.unwrap();
        claimed.lease
    };
    for known in [version(there.asked_at - 1), Version { epoch: EPOCH - 1, asked_at: there.asked_at + 1 }] {
        assert_eq!(newer_than(known).await, Lease::NotNeeded, "{known:?}");
    }
    for known in [there, version(there.asked_at + 1), Version { epoch: EPOCH + 1, asked_at: there.asked_at - 1 }] {
        assert_eq!(newer_than(known).await, Lease::Ours, "{known:?}");
    }
}

pub(crate) async fn a_value_of_another_epoch_is_not_returned(subject: &Subject) {
    let asked_at = subject.now().await;
    for epoch in [EPOCH - 1, EPOCH + 1] {
        let (name, node) = (some_name(), some_node());
        subject.put(&name, node, Version { epoch, asked_at }).await;
        let claimed = subject.claim(&name, node).await;
        assert_eq!((claimed.value, claimed.lease), (None, Lease::Ours));
        assert!(subject.claim_with(Claim { epoch, ..look(&name, node) }).await.value.is_some());
    }
}

pub(crate) async fn an_older_value_overwrites_nothing(subject: &Subject) {
    let (name, node) = (some_name(), some_node());
    let there = version(subject.now().await);
    subject.put(&name, node, there).await;
    let as_new = value(there, b"another");
    let until = there.asked_at + 60_000;
    let put = Put { name: &name, node, value: &as_new, version: there, until, only_replace: false };
    assert_eq!(subject.engine.put(put).await.unwrap(), Stored { had_value: true, is_stored: false });
    for older in [version(there.asked_at - 1), Version { epoch: EPOCH - 1, asked_at: there.asked_at + 1 }] {
        assert_eq!(subject.put(&name, node, older).await, Stored { had_value: true, is_stored: false });
    }
    assert_eq!(subject.look(&name).await, Some(value(there, b"sealed")));
    let newer = version(there.asked_at + 1);
    assert_eq!(subject.put(&name, node, newer).await, REPLACED);
    assert_eq!(subject.look(&name).await, Some(value(newer, b"sealed")));
}

pub(crate) async fn a_value_of_a_newer_epoch_overwrites_an_older_ones(subject: &Subject) {
    let (name, node, asked_at) = (some_name(), some_node(), subject.now().await);
    subject.put(&name, node, Version { epoch: EPOCH - 1, asked_at }).await;
    assert_eq!(subject.put(&name, node, version(asked_at - 1)).await, REPLACED);
    assert!(subject.look(&name).await.is_some());
}

pub(crate) async fn only_replace_stores_in_place_of_a_value_only(subject: &Subject) {
    let (name, node, now) = (some_name(), some_node(), subject.now().await);
    let nothing = Stored { had_value: false, is_stored: false };
    assert_eq!(subject.put_with(&name, node, version(now), true).await, nothing);
    assert_eq!(subject.look(&name).await, None);
    subject.put(&name, node, version(now)).await;
    assert_eq!(subject.put_with(&name, node, version(now + 1), true).await, REPLACED);
    assert_eq!(subject.look(&name).await, Some(value(version(now + 1), b"sealed")));
}

pub(crate) async fn a_value_goes_when_its_time_is_over(subject: &Subject) {
    let (name, node, now) = (some_name(), some_node(), subject.now().await);
    let (version, until) = (version(now), now + 200);
    let value = value(version, b"sealed");
    let put = |until| Put { name: &name, node, value: &value, version, until, only_replace: false };
    assert_eq!(subject.engine.put(put(until)).await.unwrap(), NEW);
    subject
        .until(async || {
            let claimed = subject.claim_with(look(&name, node)).await;
            assert!(claimed.value.is_some() || claimed.now >= until - ROUNDING);
            claimed.value.is_none()
        })
        .await;
    assert_eq!(subject.engine.put(put(now + 60_000)).await.unwrap(), NEW);
}

pub(crate) async fn delete_removes_the_value_and_not_the_lease(subject: &Subject) {
    let (name, first, second) = (some_name(), some_node(), some_node());
    let now = subject.claim(&name, first).await.now;
    subject.put(&name, second, version(now)).await;
    subject.engine.delete(&name).await.unwrap();
    let claimed = subject.claim(&name, second).await;
    assert!(claimed.value.is_none() && matches!(claimed.lease, Lease::Of(whose, _) if whose == first));
    subject.engine.delete(&name).await.unwrap();
}
