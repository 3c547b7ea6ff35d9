//! How to use the crate, chapter by chapter. (The files are in the repository's folder `docs`, too.)
//!
//! Building it in:
//!
//! * [Who is asked](endpoints): RFC 7662 servers, Apigee, credentials, certificates, proxies
//! * [JWTs, and what is signed](jwt): tokens that are judged here, asked about once verified, or mixed with opaque ones
//! * [Tokens bound to their holder](possession): DPoP, client certificates, routes that want bound tokens
//! * [Servers](servers) one by one: what to know about each, and what to set
//! * [What a route requires](requirements): audiences, scopes, rules, step-up, single routes, open routes
//! * [Where the token is read from](tokens): headers, cookies, the query; what becomes of it; WebSockets
//! * [Tenants](tenants): by host, by path, by a fact of the token
//! * [Clients that look for a token, and browsers](browsers): RFC 9728, the Model Context Protocol, CORS
//! * [Works with](works_with): tower-http and the order of layers, hyper, salvo, AWS Lambda, WebSockets, utoipa,
//!   OpenTelemetry
//! * [In your own tests](testing): handlers, the layer, time
//!
//! Running it:
//!
//! * [The revocation window](revocation): how long a revoked token comes in, and Apigee's quota
//! * [When the authority is slow, down, or under attack](outages): what is done about it, and what you decide
//! * [Revocation without waiting](signals): security events and logouts that an authority tells of
//! * [Several processes](fleet): answers and revocations shared through Redis, and what holds when it fails
//! * [Operations](operations): metrics, probes, logs, and what to look at when something goes wrong
//! * [Defaults](defaults) of all settings
//!
//! How good it is:
//!
//! * [Performance](performance): what a request costs, beside others, and how it was measured
//! * [Reliability](reliability): what was tested, and how

macro_rules! chapters {
    ($($name:ident: $file:literal),*) => {$(
        // (What is wrong in a snippet is said to be in the first of these files, at a line counted from its beginning.)
        // Where a link is defined twice, the first counts: here these, in the repository those at the end of the file.
        #[doc = include_str!("links.md")]
        #[doc = include_str!(concat!("../../docs/", $file))]
        pub mod $name {}
    )*};
}

chapters!(
    endpoints: "endpoints.md",
    jwt: "jwt.md",
    possession: "possession.md",
    servers: "servers.md",
    requirements: "requirements.md",
    tokens: "tokens.md",
    tenants: "tenants.md",
    browsers: "browsers.md",
    works_with: "works-with.md",
    revocation: "revocation.md",
    outages: "outages.md",
    fleet: "fleet.md",
    signals: "signals.md",
    operations: "operations.md",
    testing: "testing.md",
    defaults: "defaults.md",
    reliability: "reliability.md"
);

#[doc = include_str!("links.md")]
#[doc = include_str!("charts.md")]
#[doc = include_str!("../../docs/performance.md")]
pub mod performance {}
