//! Whether events arrive, as far as that can be told.

use serde_json::json;
use tower_introspection::signals::{EventKind, StreamHealth, StreamStatus};

use super::*;
use crate::support::{secs, until};

const SSF: &str = "https://schemas.openid.net/secevent/ssf/event-type/";

fn stream_updated(status: &str) -> SandboxEvent {
    let event =
        SandboxEvent::new(format!("{SSF}stream-updated")).subject(json!({ "format": "opaque", "id": "stream" }));
    event.unwrap().member("status", status).unwrap()
}

#[tokio::test]
async fn what_the_transmitter_says_of_its_stream_shows_in_the_health() {
    let world = World::new().await;
    let handle = world.signals.handle();
    assert_eq!(handle.health(), StreamHealth::Healthy);
    for (said, status, health) in [
        ("paused", StreamStatus::Paused, StreamHealth::Stopped),
        ("disabled", StreamStatus::Disabled, StreamHealth::Stopped),
        ("nonsense", StreamStatus::Disabled, StreamHealth::Stopped),
        ("enabled", StreamStatus::Enabled, StreamHealth::Healthy),
    ] {
        assert_eq!(world.push(stream_updated(said)).await, TAKEN);
        let stats = handle.stats().transmitters[0].clone();
        assert_eq!((stats.status, stats.health, handle.health()), (status, health, health), "{said}");
    }
    let stats = handle.stats().transmitters[0].clone();
    assert!(stats.last_heard.is_some() && stats.last_event.is_none(), "it was about the stream and nobody else");
    assert_eq!(stats.events, [(EventKind::StreamUpdated, 4)]);
    assert_eq!(world.push(world.about(&user(&world.sandbox, "ann"))).await, TAKEN);
    assert!(handle.stats().transmitters[0].last_event.is_some());
}

#[tokio::test]
async fn what_was_said_before_has_been_overtaken_and_whoever_sends_events_has_an_enabled_stream() {
    let world = World::new().await;
    let handle = world.signals.handle();
    let status = || handle.stats().transmitters[0].status;
    let (now, disabled) = (seconds(world.clock.now()), || stream_updated("disabled"));
    assert_eq!(world.push(stream_updated("enabled")).await, TAKEN);
    assert_eq!(world.push(disabled().claim("iat", now - 1).unwrap()).await, TAKEN);
    assert_eq!(status(), StreamStatus::Enabled);
    assert_eq!(world.push(disabled()).await, TAKEN);
    assert_eq!(status(), StreamStatus::Disabled);
    let about = world.about(&user(&world.sandbox, "ann"));
    assert_eq!(world.push(about.clone().claim("iat", now - 1).unwrap()).await, TAKEN);
    assert_eq!(status(), StreamStatus::Disabled);
    world.clock.advance(secs(1));
    assert_eq!(world.push(about).await, TAKEN);
    assert_eq!(status(), StreamStatus::Enabled);
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_which_nothing_is_heard_for_as_long_as_was_said_is_silent_until_it_is_heard() {
    let world = World::with(|transmitter| transmitter.silent_after(secs(600))).await;
    let handle = world.signals.handle();
    let verification = || SandboxEvent::new(format!("{SSF}verification"));
    tokio::time::advance(secs(600)).await;
    assert_eq!(handle.health(), StreamHealth::Healthy);
    tokio::time::advance(secs(1)).await;
    assert_eq!(handle.health(), StreamHealth::Silent);
    assert_eq!(world.push(verification()).await, TAKEN);
    assert_eq!(handle.health(), StreamHealth::Healthy);
    tokio::time::advance(secs(601)).await;
    assert_eq!(handle.health(), StreamHealth::Silent);
    // What is not the transmitter's does not count.
    assert_eq!(push(&world.signals, "junk").await, refused("invalid_request"));
    let other = Sandbox::start().await.unwrap();
    let forged = sign(&other, "secevent+jwt", &claims_of_event(&world, &json!({})));
    assert_eq!(push(&world.signals, &forged).await, refused("invalid_key"));
    assert_eq!(handle.health(), StreamHealth::Silent);
}

/// One that pushes has nothing to say as long as nothing happens.
#[tokio::test(start_paused = true)]
async fn without_a_setting_one_that_pushes_is_never_silent() {
    let world = World::new().await;
    tokio::time::advance(secs(1_000_000)).await;
    assert_eq!(world.signals.handle().health(), StreamHealth::Healthy);
}

/// The handle and the status page keep nothing alive.
#[tokio::test(start_paused = true)]
async fn the_tasks_end_with_the_last_clone_and_its_services() {
    let metrics = tokio::runtime::Handle::current().metrics();
    let before = metrics.num_alive_tasks();
    let world = World::with(|transmitter| transmitter.silent_after(secs(60))).await;
    let World { signals, sandbox, .. } = world;
    // The sandbox has one of its own.
    assert_eq!(metrics.num_alive_tasks(), before + 2);
    let (handle, service) = (signals.handle(), signals.push());
    drop(signals);
    tokio::time::advance(secs(60)).await;
    assert_eq!(metrics.num_alive_tasks(), before + 2);
    drop(service);
    until(|| metrics.num_alive_tasks() == before + 1).await;
    assert_eq!(handle.stats().transmitters.len(), 1);
    drop(sandbox);
}
