//! HTTP/2 with prior knowledge, and gRPC over it: requests side by side on one connection.
//!
//! Header blocks of requests use the static table and literals only. Those of answers are not decoded: a 200 is one
//! byte, always the first. A gRPC answer has that byte in any case; one that brings no message is a refusal.

use super::{Answer, Protocol, Target, Wire};
use crate::Failure;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEAD: usize = 9;
/// So large that no answer ever waits for more, both the connection's window and that of each request. Half of the
/// connection's is given back at once.
const WINDOW: u32 = (1 << 31) - 1;
const WINDOW_BEFORE: u32 = 65_535;
const INITIAL_WINDOW_SIZE: u16 = 4;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// `:status: 200` in the static table.
const STATUS_200: u8 = 0x88;
/// A gRPC message of no bytes, uncompressed: a `HealthCheckRequest` for the server as a whole.
const EMPTY_MESSAGE: &[u8] = &[0; 5];

pub struct Http2 {
    headers_but_token: Vec<u8>,
    message: Option<&'static [u8]>,
    next_request: u32,
    /// Requests of which the answer has begun: the number, whether the status was 200, whether there was data.
    begun: Vec<(u32, bool, bool)>,
    /// Since the connection's window was as large as can be.
    received: u32,
}

impl Http2 {
    pub fn new(target: &Target) -> Self {
        let grpc = target.protocol == Protocol::Grpc;
        let mut headers = vec![if grpc { 0x83 } else { 0x82 }, 0x86];
        literal(&mut headers, Name::Indexed(4), &target.path);
        literal(&mut headers, Name::Indexed(1), &target.address.to_string());
        literal(&mut headers, Name::Indexed(58), "generator");
        if grpc {
            literal(&mut headers, Name::Indexed(31), "application/grpc");
            literal(&mut headers, Name::Text("te"), "trailers");
        } else {
            literal(&mut headers, Name::Indexed(19), "application/json");
        }
        let message = grpc.then_some(EMPTY_MESSAGE);
        Self { headers_but_token: headers, message, next_request: 1, begun: Vec::new(), received: 0 }
    }

    fn begun(&mut self, request: u32) -> Result<&mut (u32, bool, bool), Failure> {
        self.begun.iter_mut().find(|begun| begun.0 == request).ok_or_else(|| "data before headers".into())
    }

    fn end(&mut self, request: u32) -> Result<Answer, Failure> {
        let at = self.begun.iter().position(|begun| begun.0 == request).ok_or("an end without a beginning")?;
        let (request, status_is_200, data) = self.begun.swap_remove(at);
        Ok(Answer { request, accepted: status_is_200 && data })
    }

    fn count(&mut self, bytes: usize, output: &mut Vec<u8>) -> Result<(), Failure> {
        self.received += u32::try_from(bytes)?;
        if self.received > WINDOW / 2 {
            frame(output, WINDOW_UPDATE, 0, 0, &[&self.received.to_be_bytes()]);
            self.received = 0;
        }
        Ok(())
    }
}

impl Wire for Http2 {
    fn hello(&mut self, output: &mut Vec<u8>) {
        output.extend_from_slice(PREFACE);
        frame(output, SETTINGS, 0, 0, &[&INITIAL_WINDOW_SIZE.to_be_bytes(), &WINDOW.to_be_bytes()]);
        frame(output, WINDOW_UPDATE, 0, 0, &[&(WINDOW - WINDOW_BEFORE).to_be_bytes()]);
    }

    fn request(&mut self, token: &str, output: &mut Vec<u8>) -> u32 {
        let request = self.next_request;
        self.next_request += 2;
        let scheme = b"Bearer ";
        // `authorization` is 23 in the static table, 15 and 8; a credential is never put into a table.
        let length = u8::try_from(scheme.len() + token.len()).unwrap_or(u8::MAX);
        assert!(length < 127, "a length that takes more than one byte");
        let flags = END_HEADERS | if self.message.is_none() { END_STREAM } else { 0 };
        let block: [&[u8]; 4] = [&self.headers_but_token, &[0x1f, 8, length], scheme, token.as_bytes()];
        frame(output, HEADERS, flags, request, &block);
        if let Some(message) = self.message {
            frame(output, DATA, END_STREAM, request, &[message]);
        }
        request
    }

    fn take(&mut self, input: &[u8], output: &mut Vec<u8>, answered: &mut dyn FnMut(Answer)) -> Result<usize, Failure> {
        let mut taken = 0;
        while let Some((head, rest)) = input[taken..].split_at_checked(FRAME_HEAD) {
            let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
            let Some(payload) = rest.get(..length) else { break };
            let (kind, flags) = (head[3], head[4]);
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            match kind {
                HEADERS if self.begun.iter().any(|begun| begun.0 == stream) => {} // trailers
                HEADERS => self.begun.push((stream, payload.first() == Some(&STATUS_200), false)),
                DATA => {
                    self.count(length, output)?;
                    self.begun(stream)?.2 |= length > 0;
                }
                SETTINGS if flags & ACK == 0 => frame(output, SETTINGS, ACK, 0, &[]),
                PING if flags & ACK == 0 => frame(output, PING, ACK, 0, &[payload]),
                SETTINGS | PING | WINDOW_UPDATE => {}
                RST_STREAM => return Err("a request was reset".into()),
                GOAWAY => return Err("the server wants no more of this connection".into()),
                other => return Err(format!("a frame of type {other}").into()),
            }
            if matches!(kind, HEADERS | DATA) && flags & END_STREAM != 0 {
                answered(self.end(stream)?);
            }
            taken += FRAME_HEAD + length;
        }
        Ok(taken)
    }
}

fn frame(output: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[&[u8]]) {
    let length: usize = payload.iter().map(|part| part.len()).sum();
    let length = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    output.extend_from_slice(&[length[1], length[2], length[3], kind, flags]);
    output.extend_from_slice(&stream.to_be_bytes());
    for part in payload {
        output.extend_from_slice(part);
    }
}

enum Name<'a> {
    /// In the static table.
    Indexed(u8),
    Text(&'a str),
}

/// A header field that goes into no table.
fn literal(block: &mut Vec<u8>, name: Name<'_>, value: &str) {
    match name {
        Name::Indexed(index) if index < 15 => block.push(index),
        Name::Indexed(index) => block.extend_from_slice(&[15, index - 15]),
        Name::Text(name) => {
            block.push(0);
            text(block, name);
        }
    }
    text(block, value);
}

fn text(block: &mut Vec<u8>, text: &str) {
    let length = u8::try_from(text.len()).unwrap_or(u8::MAX);
    assert!(length < 127, "a length that takes more than one byte");
    block.push(length);
    block.extend_from_slice(text.as_bytes());
}
