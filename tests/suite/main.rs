//! The behaviour of the crate as its users see it. One binary, because linking takes longer than testing; what needs a
//! process of its own (an allocator, a log subscriber, other programs) stands beside this folder.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod api;
mod apigee;
mod apigee_login;
mod authorities;
mod axum;
mod cache;
mod callbacks;
#[cfg(feature = "certificate-bound")]
mod certificates;
mod discovery;
mod dpop;
mod faults;
mod fleet;
mod fleet_model;
mod flight_stress;
mod flights;
mod introspectors;
mod jwt;
mod keep_serving;
mod layer;
mod marks;
mod model;
mod mutual_tls;
#[cfg(feature = "axum")]
mod nested;
mod outage;
mod protection;
mod rejections;
mod resource;
mod rfc7662;
mod sandbox;
mod signals;
mod sources;
mod status_page;
mod step_up;
mod tonic;
mod wire;
