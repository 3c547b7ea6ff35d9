//! Names that are new once.

use std::time::Duration;

use super::{MINUTE, Subject, some_name};
use crate::fleet::engine::Name;

async fn is_new(subject: &Subject, name: &Name, lasts: Duration) -> bool {
    subject.engine.insert_once(name, lasts).await.unwrap()
}

pub(crate) async fn a_name_is_new_once(subject: &Subject) {
    let (name, other) = (some_name(), some_name());
    assert!(is_new(subject, &name, MINUTE).await);
    for _ in 0..2 {
        assert!(!is_new(subject, &name, MINUTE).await);
    }
    assert!(is_new(subject, &other, MINUTE).await, "names are apart");
}

pub(crate) async fn a_name_is_new_again_when_its_time_is_over_and_asking_does_not_prolong_it(subject: &Subject) {
    let name = some_name();
    assert!(is_new(subject, &name, Duration::from_millis(50)).await);
    subject.until(async || is_new(subject, &name, MINUTE).await).await;
    assert!(!is_new(subject, &name, MINUTE).await);
}

pub(crate) async fn of_many_who_ask_at_once_the_name_is_new_to_one(subject: &Subject) {
    let name = some_name();
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let (engine, name) = (std::sync::Arc::clone(&subject.engine), name.clone());
        all.spawn(async move { engine.insert_once(&name, MINUTE).await.unwrap() });
    }
    assert_eq!(all.join_all().await.into_iter().filter(|is_new| *is_new).count(), 1);
}

pub(crate) async fn a_name_is_no_value_and_takes_no_lease(subject: &Subject) {
    let name = some_name();
    assert!(is_new(subject, &name, MINUTE).await);
    assert_eq!(subject.look(&name).await, None);
    let claimed = subject.claim(&name, super::some_node()).await;
    assert_eq!(claimed.lease, crate::fleet::engine::Lease::Ours);
}
