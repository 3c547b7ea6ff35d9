//! Each kind of JWT at the doors for events and logouts: the one that it is for lets it in, and no other, though all
//! are signed by one key and hold whatever any door could want to see.

use serde_json::json;

use super::*;

#[tokio::test]
async fn each_kind_has_its_own_door() {
    let world = World::new().await;
    let types = ["at+jwt", "token-introspection+jwt", "secevent+jwt", "logout+jwt", "dpop+jwt", "JWT"];
    for (n, typ) in types.into_iter().enumerate() {
        // With the claims of an event, of a logout, and of both with those of an ID token and an access token.
        let event = claims_of_event(&world, &json!({ "jti": format!("event {n}") }));
        let logout = claims_of_logout(&world, &json!({ "jti": format!("logout {n}") }));
        let both = changed(event.clone(), &logout);
        let all = changed(both.clone(), &json!({ "nonce": "n", "client_id": CLIENT, "scope": "read", "htm": "POST" }));
        let mut doors = Vec::new();
        for claims in [&event, &logout, &both, &all] {
            let token = sign(&world.sandbox, typ, claims);
            doors.push((push(&world.signals, &token).await.0 == 202, log_out(&world.signals, &token).await.0 == 200));
        }
        let expected = match typ {
            "secevent+jwt" => [(true, false), (false, false), (false, false), (false, false)],
            // What has no type of its own is told by what it holds.
            "logout+jwt" | "JWT" => [(false, false), (false, true), (false, true), (false, false)],
            _ => [(false, false); 4],
        };
        assert_eq!(doors, expected, "{typ}");
    }
}
