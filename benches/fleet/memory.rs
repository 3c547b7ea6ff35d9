//! What a token takes in the engine.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::cmd;
use tower_introspection::introspect::Ask;
use tower_introspection::{BearerToken, Cached, Introspect};

use crate::hit::values;
use crate::member::{Member, Settings, wait_until_it_reads};
use crate::support::rounds::Rounds;
use crate::support::{Bounds, token_name};
use crate::vendor::{Authority, Shape};
use crate::{Scene, print_table};

const TOKENS: usize = 10_000;
const MAX_TTL: Duration = Duration::from_secs(600);

/// Whose facts they are.
#[derive(Clone, Copy)]
enum Facts {
    Rfc7662,
    Vendor(Shape),
}

pub fn measure(scene: &mut Scene, _bounds: &mut Bounds) {
    let kinds = [
        ("five members of RFC 7662", Facts::Rfc7662),
        ("the example of Apigee's documentation", Facts::Vendor(Shape::Example)),
        ("the same with products, scopes and three attributes", Facts::Vendor(Shape::Full)),
    ];
    let mut rows = Vec::new();
    for (name, facts) in kinds {
        scene.redis.says(&["FLUSHALL"]);
        let settings = scene.settings("orders", MAX_TTL);
        let url = scene.redis.url();
        rows.push(scene.runtime.block_on(run(name, facts, settings, url)));
    }
    let head = ["facts", "bytes of the value", "`MEMORY USAGE` of its key", "`used_memory` for each"];
    print_table(&head, &rows);
}

async fn run(name: &str, facts: Facts, settings: Settings, url: String) -> Vec<String> {
    let client = redis::Client::open(url).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let before = used_memory(&mut connection).await;
    let fleet = match facts {
        Facts::Rfc7662 => {
            let member = Member::join(&settings).await;
            store(&member.cached).await;
            member.fleet.unwrap()
        }
        Facts::Vendor(shape) => {
            let (authority, fleet) = (Authority::new(shape), settings.fleet().unwrap());
            assert!(authority.is_like_the_real_one().await);
            let cached = Cached::builder(authority).max_ttl(MAX_TTL).fleet(&fleet).build().unwrap();
            wait_until_it_reads(&fleet).await;
            store(&cached).await;
            fleet
        }
    };
    // The last answer is on its way when its request goes on.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let keys = values(&mut connection).await;
    // On a busy machine an exchange may come too late: then the answer is not shared.
    assert!(keys.len() > TOKENS / 100 * 98, "{fleet:?}");
    let (mut lengths, mut usages) = (Vec::new(), Vec::new());
    for key in keys.iter().take(TOKENS / 10) {
        lengths.push(cmd("STRLEN").arg(key).query_async::<f64>(&mut connection).await.unwrap());
        usages.push(cmd("MEMORY").arg("USAGE").arg(key).query_async::<f64>(&mut connection).await.unwrap());
    }
    #[allow(clippy::cast_precision_loss)]
    let each = (used_memory(&mut connection).await - before) / keys.len() as f64;
    vec![name.into(), Rounds::of(lengths).to_string(), Rounds::of(usages).to_string(), format!("{each:.0}")]
}

async fn store<I: Introspect>(cached: &Cached<I>) {
    for n in 0..TOKENS {
        let token = BearerToken::parse(token_name('m', n)).unwrap();
        assert!(cached.introspect(Ask::new(&token)).await.unwrap().is_active());
    }
}

async fn used_memory(connection: &mut MultiplexedConnection) -> f64 {
    let info: String = cmd("INFO").arg("memory").query_async(connection).await.unwrap();
    let line = info.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap();
    line.trim().parse().unwrap()
}
