//! What a request costs whose token is known, or can be verified without a question.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::header::{ACCEPT, AUTHORIZATION, HOST, USER_AGENT};
use axum::http::{HeaderValue, Request, StatusCode, Uri};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::tokens::in_turn;
use crate::{App, Authority, Failure, PATH, TokenKind, failure};

/// How many tokens are made known at a time.
const AT_A_TIME: usize = 32;
/// How many requests are made between two looks at the clock.
const BATCH: usize = 500;
/// How long a peer may take to fetch its keys.
const GETTING_READY: Duration = Duration::from_secs(5);

/// Makes all tokens known by presenting each, then presents them in turn for `duration`.
pub(crate) async fn measure<S: App>(
    guarded: &impl AsyncFn(&Authority) -> Result<S, Failure>,
    kind: TokenKind,
    duration: Duration,
) -> Result<Value, Failure> {
    let authority = Authority::start(Duration::ZERO)?;
    let app = guarded(&authority).await?;
    let values: Vec<_> = kind.tokens(authority.keys()).iter().map(|token| format!("Bearer {token}")).collect();
    until_ready(&app, &values[0]).await?;
    for some in values.chunks(AT_A_TIME) {
        for status in join_all(some.iter().map(|value| send(&app, value))).await {
            expect(status, StatusCode::OK)?;
        }
    }
    let values = in_turn(&values);
    send_all(&app, &values).await?;

    let (questions, requests_before) = (authority.questions(), authority.requests());
    let (mut requests, mut start_of_batch) = (0, 0);
    let (start, work) = (Instant::now(), processor_time());
    while start.elapsed() < duration {
        let batch = &values[start_of_batch..values.len().min(start_of_batch + BATCH)];
        send_all(&app, batch).await?;
        requests += batch.len();
        start_of_batch = (start_of_batch + batch.len()) % values.len();
    }
    let elapsed = start.elapsed();
    let work = work.and_then(|work| processor_time()?.checked_sub(work)).unwrap_or(elapsed);
    #[allow(clippy::cast_precision_loss)]
    let [nanoseconds, on_the_clock] = [work, elapsed].map(|time| time.as_nanos() as f64 / requests as f64);
    Ok(json!({
        "tokens": values.len(),
        "requests": requests,
        "nanoseconds": nanoseconds,
        "nanoseconds_on_the_clock": on_the_clock,
        "questions_before": questions,
        "asked_meanwhile": authority.requests() - requests_before,
    }))
}

/// For how long this thread has had a processor, where the system tells it. What is measured waits for nothing, so that
/// is all it takes; the clock also counts the time in which the machine did something else.
fn processor_time() -> Option<Duration> {
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(statistics.split(' ').next()?.parse().ok()?))
}

/// Some peers fetch their keys in the background.
async fn until_ready(app: &impl App, value: &str) -> Result<(), Failure> {
    let start = Instant::now();
    loop {
        let status = send(app, value).await;
        if status == StatusCode::OK || start.elapsed() > GETTING_READY {
            return expect(status, StatusCode::OK);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn send_all(app: &impl App, values: &[String]) -> Result<(), Failure> {
    for value in values {
        expect(send(app, value).await, StatusCode::OK)?;
    }
    Ok(())
}

fn expect(status: StatusCode, expected: StatusCode) -> Result<(), Failure> {
    if status == expected { Ok(()) } else { Err(failure(format_args!("answered {status}"))) }
}

/// As a server does it: the request is made just before its use, and goes to a clone of the service.
pub(crate) async fn send(app: &impl App, authorization: &str) -> StatusCode {
    let answer = app.clone().oneshot(request(authorization)).await;
    answer.map_or(StatusCode::INTERNAL_SERVER_ERROR, |response| response.status())
}

fn request(authorization: &str) -> Request<Body> {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = Uri::from_static(PATH);
    let headers = request.headers_mut();
    headers.insert(HOST, HeaderValue::from_static("api.example.com"));
    headers.insert(USER_AGENT, HeaderValue::from_static("orders-client/1.0"));
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(AUTHORIZATION, HeaderValue::from_str(authorization).expect("tokens are fit for a header"));
    request
}
