//! What a client says and hears on one connection, byte by byte. A general client would use more of its core than the
//! server of its own; this one knows its few requests beforehand and looks at an answer only as far as it has to.

mod http1;
mod http2;

use std::net::SocketAddr;

pub use http1::Http1;
pub use http2::Http2;

use crate::Failure;

/// One side of a connection.
pub trait Wire {
    /// What comes before the first request.
    fn hello(&mut self, output: &mut Vec<u8>);
    /// Writes one request and returns its number.
    fn request(&mut self, token: &str, output: &mut Vec<u8>) -> u32;
    /// Reads what is complete in `input`, says how much that was, and tells of each answer that has ended. What a
    /// protocol wants in return goes into `output`.
    ///
    /// # Errors
    /// If the server says something else than was expected.
    fn take(&mut self, input: &[u8], output: &mut Vec<u8>, answered: &mut dyn FnMut(Answer)) -> Result<usize, Failure>;
}

/// The end of an answer.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// The number of the request.
    pub request: u32,
    /// Whether it was what a good token gets.
    pub accepted: bool,
}

/// Where requests go.
#[derive(Clone, Debug)]
pub struct Target {
    pub address: SocketAddr,
    pub protocol: Protocol,
    pub path: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Http1,
    Http2,
    Grpc,
}

impl Protocol {
    /// 32 requests at a time: of HTTP/1.1 on as many connections, else on two.
    pub fn connections(self) -> usize {
        32 / self.requests_on_one()
    }

    pub fn requests_on_one(self) -> usize {
        match self {
            Self::Http1 => 1,
            Self::Http2 | Self::Grpc => 16,
        }
    }
}

impl Target {
    pub fn wire(&self) -> Box<dyn Wire> {
        match self.protocol {
            Protocol::Http1 => Box::new(Http1::new(self)),
            Protocol::Http2 | Protocol::Grpc => Box::new(Http2::new(self)),
        }
    }
}
