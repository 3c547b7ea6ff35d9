//! Events that are fetched, from servers that behave well and from others.

use std::collections::VecDeque;
use std::net::SocketAddr;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tower_introspection::credentials::ClientCredentials;
use tower_introspection::sandbox::Fault;
use tower_introspection::signals::{Poll, StreamHealth};

use super::*;
use crate::support::{millis, secs, until};

/// What a server does with a request.
enum Step {
    Answer(Value),
    Status(u16),
    Text(String),
    Hang,
}

/// A transmitter that answers in the order in which it was told to, and then that there is nothing.
struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    _task: Aborted,
}

#[derive(Default)]
struct Shared {
    steps: Mutex<VecDeque<Step>>,
    requests: Mutex<Vec<(HeaderMap, Value)>>,
}

struct Aborted(JoinHandle<()>);

impl Drop for Aborted {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Server {
    async fn start(steps: impl IntoIterator<Item = Step>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { steps: Mutex::new(steps.into_iter().collect()), ..Shared::default() });
        let app = axum::Router::new().route("/poll", axum::routing::post(answer)).with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { address, shared, _task: Aborted(task) }
    }

    fn poll(&self) -> Poll {
        Poll::new(format!("http://{}/poll", self.address)).bearer_token("secret").interval(millis(5))
    }

    async fn asked(&self, n: usize) -> Value {
        until(|| self.shared.requests.lock().unwrap().len() >= n).await;
        self.shared.requests.lock().unwrap()[n - 1].1.clone()
    }

    fn requests(&self) -> usize {
        self.shared.requests.lock().unwrap().len()
    }

    fn header(&self, n: usize, name: &str) -> String {
        self.shared.requests.lock().unwrap()[n - 1].0[name].to_str().unwrap().to_owned()
    }
}

async fn answer(State(shared): State<Arc<Shared>>, headers: HeaderMap, Json(asked): Json<Value>) -> impl IntoResponse {
    shared.requests.lock().unwrap().push((headers, asked));
    let step = shared.steps.lock().unwrap().pop_front();
    match step {
        None => Json(json!({ "sets": {} })).into_response(),
        Some(Step::Answer(answer)) => Json(answer).into_response(),
        Some(Step::Status(status)) => StatusCode::from_u16(status).unwrap().into_response(),
        Some(Step::Text(text)) => text.into_response(),
        Some(Step::Hang) => std::future::pending().await,
    }
}

/// Events about users, each by its identifier.
fn sets(world: &World, users: &[&str]) -> Value {
    let set = |user: &&str| {
        let changes = json!({ "jti": format!("of {user}"), "sub_id": super::user(&world.sandbox, user) });
        (format!("of {user}"), sign(&world.sandbox, "secevent+jwt", &claims_of_event(world, &changes)).into())
    };
    json!({ "sets": users.iter().map(set).collect::<Map<_, _>>() })
}

/// The same world, with a transmitter that is polled.
fn polled(world: World, poll: Poll) -> World {
    let transmitter = transmitter(&world.sandbox).cache(world.cached.handle()).poll(poll);
    let signals = Signals::builder().transmitter(transmitter).clock(world.clock.clone()).build().unwrap();
    World { signals, ..world }
}

#[tokio::test]
async fn events_are_fetched_take_effect_and_are_acknowledged() {
    let world = World::new().await;
    for (name, subject) in [("abc", "ann"), ("def", "bob"), ("ghi", "carl")] {
        world.remembers(name, facts().subject(subject)).await;
    }
    let server = Server::start([Step::Answer(sets(&world, &["ann", "bob"]))]).await;
    let world = polled(world, server.poll());
    assert_eq!(server.asked(1).await, json!({ "maxEvents": 20, "returnImmediately": false }));
    assert_eq!(server.header(1, "authorization"), "Bearer secret");
    assert_eq!(server.header(1, "content-type"), "application/json");
    let mut told = server.asked(2).await;
    told["ack"].as_array_mut().unwrap().sort_by_key(Value::to_string);
    assert_eq!(told["ack"], json!(["of ann", "of bob"]));
    assert_eq!(["abc", "def", "ghi"].map(|name| world.knows(name)), [false, false, true]);
    // Told once.
    assert_eq!(server.asked(3).await.get("ack"), None);
    let stats = || world.signals.handle().stats().transmitters[0].clone();
    until(|| stats().polls >= 3).await;
    assert!(stats().failed_polls == 0 && stats().last_heard.is_some());
}

#[tokio::test]
async fn the_sandbox_is_polled_until_nothing_is_left() {
    let world = World::new().await;
    for n in 0..50 {
        world.remembers(&format!("token{n}"), facts().subject(format!("user{n}"))).await;
        world.sandbox.sign_event(world.about(&user(&world.sandbox, &format!("user{n}")))).unwrap();
    }
    let poll = Poll::new(world.sandbox.poll_url()).bearer_token(world.sandbox.client_secret()).interval(millis(5));
    let world = polled(world, poll);
    until(|| (0..50).all(|n| !world.knows(&format!("token{n}")))).await;
    until(|| world.outcomes() == [(EventOutcome::Applied, 50)]).await;
}

#[tokio::test]
async fn what_is_no_good_is_said_to_be_and_what_comes_under_another_name() {
    let world = World::new().await;
    world.remembers("abc", facts().subject("ann")).await;
    let other = Sandbox::start().await.unwrap();
    let answer = json!({ "sets": {
        "forged": sign(&other, "secevent+jwt", &claims_of_event(&world, &json!({ "jti": "forged" }))),
        "foreign": sign(&other, "secevent+jwt", &claims_of_event(&world, &json!({ "jti": "foreign", "iss": other.issuer() }))),
        "junk": "junk",
        "number": 7,
        "renamed": sign(&world.sandbox, "secevent+jwt", &claims_of_event(&world, &json!({ "jti": "another" }))),
        "wrong type": sign(&world.sandbox, "JWT", &claims_of_event(&world, &json!({ "jti": "wrong type" }))),
        "good": sign(&world.sandbox, "secevent+jwt", &claims_of_event(&world, &json!({ "jti": "good", "sub_id": user(&world.sandbox, "bob") }))),
    }});
    let server = Server::start([Step::Answer(answer)]).await;
    let world = polled(world, server.poll());
    let told = server.asked(2).await;
    assert_eq!(told["ack"], json!(["good"]));
    let codes: Map<_, _> =
        told["setErrs"].as_object().unwrap().iter().map(|(id, error)| (id.clone(), error["err"].clone())).collect();
    assert_eq!(
        Value::Object(codes),
        json!({
            "forged": "invalid_key", "foreign": "invalid_issuer", "junk": "invalid_request", "number": "invalid_request",
            "renamed": "invalid_request", "wrong type": "invalid_request",
        })
    );
    assert_eq!(server.header(2, "content-language"), "en");
    assert!(told["setErrs"].as_object().unwrap().values().all(|error| error["description"].is_string()));
    assert!(world.knows("abc"));
}

/// RFC 8936 section 2.4: what is in neither list comes again.
#[tokio::test]
async fn an_event_is_not_acknowledged_before_it_had_its_effect() {
    let world = World::new().await;
    world.remembers("abc", facts().subject("ann")).await;
    world.sandbox.set_jwks_fault(Fault::Status(500));
    let event = || Step::Answer(sets(&world, &["ann"]));
    // As long as the keys cannot be had it comes again and again.
    let server = Server::start((0..2_000).map(|_| event())).await;
    let transmitter = Transmitter::discover(world.sandbox.issuer()).audience(AUDIENCE).cache(world.cached.handle());
    let signals = Signals::builder().transmitter(transmitter.poll(server.poll())).clock(world.clock.clone());
    let _signals = signals.build().unwrap();
    for n in 1..=5 {
        assert_eq!(server.asked(n).await.get("ack"), None);
    }
    assert!(world.knows("abc"));
    world.sandbox.clear_jwks_fault();
    until(|| !world.knows("abc")).await;
    until(|| server.shared.requests.lock().unwrap().iter().any(|(_, asked)| asked["ack"] == json!(["of ann"]))).await;
}

#[tokio::test]
async fn a_request_that_is_held_open_for_too_long_is_no_failure_and_the_next_one_wants_an_answer_at_once() {
    let world = World::new().await;
    world.remembers("abc", facts().subject("ann")).await;
    let server = Server::start([Step::Hang, Step::Answer(sets(&world, &["ann"]))]).await;
    let world = polled(world, server.poll().request_timeout(millis(50)));
    assert_eq!(server.asked(1).await["returnImmediately"], false);
    assert_eq!(server.asked(2).await["returnImmediately"], true);
    assert_eq!(server.asked(3).await, json!({ "maxEvents": 20, "returnImmediately": false, "ack": ["of ann"] }));
    assert!(!world.knows("abc"));
    assert_eq!(world.signals.handle().stats().transmitters[0].failed_polls, 0);
}

#[tokio::test]
async fn a_server_that_hangs_on_is_a_failure_and_its_stream_falls_silent() {
    let world = World::new().await;
    let server = Server::start((0..100).map(|_| Step::Hang)).await;
    let poll = server.poll().request_timeout(millis(20));
    let transmitter = transmitter(&world.sandbox).cache(world.cached.handle()).poll(poll).silent_after(millis(30));
    let signals = Signals::builder().transmitter(transmitter).clock(world.clock.clone()).build().unwrap();
    until(|| signals.handle().stats().transmitters[0].failed_polls >= 1).await;
    until(|| signals.handle().health() == StreamHealth::Silent).await;
}

#[tokio::test]
async fn what_was_taken_is_acknowledged_by_the_next_request_that_gets_through() {
    let world = World::new().await;
    world.remembers("abc", facts().subject("ann")).await;
    let failures = [Step::Status(500), Step::Text("<html>".into())];
    let steps = [Step::Answer(sets(&world, &["ann"]))].into_iter().chain(failures);
    let server = Server::start(steps).await;
    let world = polled(world, server.poll());
    for n in 2..=4 {
        let told = server.asked(n).await;
        assert_eq!(told["ack"], json!(["of ann"]), "{n}");
        assert_eq!(told["returnImmediately"], n > 2, "{n}");
    }
    assert_eq!(server.asked(5).await.get("ack"), None);
    assert_eq!(world.outcomes(), [(EventOutcome::Applied, 1)]);
    assert_eq!(world.signals.handle().stats().transmitters[0].failed_polls, 2);
}

/// What it does not like may be what it is told: that it will be told again comes with the event.
#[tokio::test]
async fn what_a_server_refuses_to_hear_is_not_told_again_and_again() {
    let world = World::new().await;
    world.remembers("abc", facts().subject("ann")).await;
    let again = || Step::Answer(sets(&world, &["ann"]));
    let server = Server::start([again(), Step::Status(400), again()]).await;
    let world = polled(world, server.poll());
    assert_eq!(server.asked(2).await["ack"], json!(["of ann"]));
    assert_eq!(server.asked(3).await.get("ack"), None);
    assert_eq!(server.asked(4).await["ack"], json!(["of ann"]));
    assert_eq!(world.outcomes(), [(EventOutcome::Applied, 1), (EventOutcome::Repeated, 1)]);
}

/// Or twenty of them would keep everything out that comes after.
#[tokio::test]
async fn what_is_no_good_and_comes_again_after_the_server_was_told_is_acknowledged() {
    let world = World::new().await;
    let junk = || Step::Answer(json!({ "sets": { "junk": "junk" } }));
    // It need not even want to hear what is wrong.
    for refuses in [None, Some(Step::Status(400))] {
        let n = if refuses.is_some() { 4 } else { 3 };
        let steps = [junk()].into_iter().chain(refuses).chain([junk(), junk()]);
        let server = Server::start(steps).await;
        let transmitter = transmitter(&world.sandbox).cache(world.cached.handle()).poll(server.poll());
        let _signals = Signals::builder().transmitter(transmitter).clock(world.clock.clone()).build().unwrap();
        assert_eq!(server.asked(2).await["setErrs"]["junk"]["err"], "invalid_request");
        let told = server.asked(n).await;
        assert_eq!((told["ack"].clone(), told.get("setErrs")), (json!(["junk"]), None));
    }
}

#[tokio::test]
async fn the_order_in_which_events_come_makes_no_difference() {
    let world = World::new().await;
    for (name, subject) in [("abc", "ann"), ("def", "bob"), ("ghi", "carl")] {
        world.remembers(name, facts().subject(subject)).await;
    }
    // The last one first, and an old one between, in answers of their own.
    let steps = [["carl"], ["ann"], ["carl"], ["bob"]].map(|users| Step::Answer(sets(&world, &users)));
    let server = Server::start(steps).await;
    let world = polled(world, server.poll());
    server.asked(5).await;
    assert!(["abc", "def", "ghi"].iter().all(|name| !world.knows(name)));
    assert_eq!(world.outcomes(), [(EventOutcome::Applied, 3), (EventOutcome::Repeated, 1)]);
}

/// It has lost its place, or never forgets: what it sends again has no effect, and it is not asked without end.
#[tokio::test]
async fn a_server_that_repeats_itself_is_acknowledged_and_left_alone_for_the_interval() {
    let world = World::new().await;
    world.remembers("abc", facts().subject("ann")).await;
    world.remembers("def", facts().subject("bob")).await;
    let mut again = sets(&world, &["bob", "ann"]);
    again["moreAvailable"] = json!(true);
    let server = Server::start((0..10_000).map(|_| Step::Answer(again.clone()))).await;
    let world = polled(world, server.poll().interval(secs(3_600)));
    server.asked(2).await;
    until(|| world.outcomes() == [(EventOutcome::Applied, 2), (EventOutcome::Repeated, 2)]).await;
    assert!(!world.knows("abc") && !world.knows("def"));
    // Something else that takes a while.
    for _ in 0..20 {
        assert_eq!(world.push(world.about(&user(&world.sandbox, "carl"))).await, TAKEN);
    }
    assert_eq!(server.requests(), 2);
}

#[tokio::test]
async fn of_an_answer_with_more_than_was_asked_for_the_rest_comes_again() {
    let world = World::new().await;
    let names: Vec<String> = (0..30).map(|n| format!("user{n}")).collect();
    for name in &names {
        world.remembers(name, facts().subject(name)).await;
    }
    let all = |names: &[String]| sets(&world, &names.iter().map(String::as_str).collect::<Vec<_>>());
    let server = Server::start([Step::Answer(all(&names)), Step::Answer(all(&names))]).await;
    let world = polled(world, server.poll());
    let told = server.asked(2).await;
    assert_eq!(told["ack"].as_array().unwrap().len(), 20);
    until(|| names.iter().filter(|name| !world.knows(name)).count() == 20).await;
}

#[tokio::test]
async fn after_an_answer_that_is_too_large_fewer_events_are_asked_for() {
    let world = World::new().await;
    let large = Step::Text("x".repeat(2_100 * 1_024));
    let server = Server::start([large, Step::Answer(sets(&world, &["ann"]))]).await;
    let world = polled(world, server.poll());
    assert_eq!(server.asked(1).await["maxEvents"], 20);
    assert_eq!(server.asked(2).await["maxEvents"], 10);
    assert_eq!(server.asked(3).await["maxEvents"], 20);
    assert_eq!(world.outcomes(), [(EventOutcome::Applied, 1)]);
}

#[tokio::test]
async fn a_bearer_token_that_is_refused_is_renewed() {
    let world = World::new().await;
    let server = Server::start([Step::Status(401), Step::Answer(sets(&world, &["ann"]))]).await;
    let login = ClientCredentials::new(
        format!("{}/token", world.sandbox.issuer()),
        world.sandbox.client_id(),
        world.sandbox.client_secret(),
    );
    let poll = Poll::new(format!("http://{}/poll", server.address)).client_credentials(login);
    let world = polled(world, poll);
    server.asked(3).await;
    assert_ne!(server.header(1, "authorization"), server.header(2, "authorization"));
    assert_eq!(server.header(2, "authorization"), server.header(3, "authorization"));
    assert_eq!(world.outcomes(), [(EventOutcome::Applied, 1)]);
}

#[tokio::test]
async fn polling_ends_with_whoever_listens() {
    let world = World::new().await;
    let server = Server::start([]).await;
    let metrics = tokio::runtime::Handle::current().metrics();
    let world = polled(world, server.poll());
    server.asked(3).await;
    let with = metrics.num_alive_tasks();
    let World { signals, .. } = world;
    let handle = signals.handle();
    drop(signals);
    // The poll, and the watch.
    until(|| metrics.num_alive_tasks() <= with - 2).await;
    let polls = handle.stats().transmitters[0].polls;
    server.asked(3).await;
    assert_eq!(handle.stats().transmitters[0].polls, polls);
}
