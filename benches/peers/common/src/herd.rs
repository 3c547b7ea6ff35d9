//! How many questions requests make that come at once with one unknown token.

use std::time::{Duration, Instant};

use axum::http::StatusCode;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::hits::send;
use crate::tokens::opaque;
use crate::{App, Authority, Failure};

/// How many requests come at once.
pub const HERD: usize = 50;
/// How long the authority takes for an answer.
const DELAY: Duration = Duration::from_millis(50);

/// Lets the herd in, with an authority that answers or one that fails.
pub(crate) async fn measure<S: App>(
    guarded: &impl AsyncFn(&Authority) -> Result<S, Failure>,
    failing: bool,
) -> Result<Value, Failure> {
    let authority = Authority::start(DELAY)?;
    let app = guarded(&authority).await?;
    if failing {
        authority.fail();
    }
    let value = format!("Bearer {}", opaque(0));
    let start = Instant::now();
    let statuses = join_all((0..HERD).map(|_| send(&app, &value))).await;
    let elapsed = start.elapsed();
    let let_in = statuses.iter().filter(|status| **status == StatusCode::OK).count();
    Ok(json!({
        "questions": authority.questions(),
        "let_in": let_in,
        "milliseconds": elapsed.as_millis(),
    }))
}
