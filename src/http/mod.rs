//! How an authority is reached: one bounded HTTP exchange, the connection it goes over, and what this service shows.

pub(crate) mod connection;
pub(crate) mod credential;
pub(crate) mod exchange;
pub(crate) mod link;
