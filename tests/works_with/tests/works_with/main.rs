//! The layer beside other crates, as `docs/works-with.md` has it. One binary, because linking takes longer than
//! testing; what looks at everything that is logged has a process of its own, beside this folder.
//!
//! What the chapter shows stands at the top of each module, and [`chapter`] compares the two.

mod chapter;
mod hyper;
mod lambda;
mod logout;
mod salvo;
mod support;
mod tower_http;
mod utoipa;
mod websocket;
