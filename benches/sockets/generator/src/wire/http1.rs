//! HTTP/1.1: one request after the other on a connection that is kept.

use super::{Answer, Target, Wire};
use crate::Failure;

pub struct Http1 {
    before_token: Vec<u8>,
    after_token: Vec<u8>,
    requests: u32,
}

impl Http1 {
    pub fn new(target: &Target) -> Self {
        let before_token =
            format!("GET {} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer ", target.path, target.address);
        let after_token = "\r\naccept: application/json\r\nuser-agent: generator\r\n\r\n";
        Self { before_token: before_token.into_bytes(), after_token: after_token.into(), requests: 0 }
    }
}

impl Wire for Http1 {
    fn hello(&mut self, _: &mut Vec<u8>) {}

    fn request(&mut self, token: &str, output: &mut Vec<u8>) -> u32 {
        output.extend_from_slice(&self.before_token);
        output.extend_from_slice(token.as_bytes());
        output.extend_from_slice(&self.after_token);
        self.requests += 1;
        self.requests
    }

    fn take(&mut self, input: &[u8], _: &mut Vec<u8>, answered: &mut dyn FnMut(Answer)) -> Result<usize, Failure> {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut response = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(head) = response.parse(input)? else { return Ok(0) };
        let length = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
        let length: usize = std::str::from_utf8(length.ok_or("an answer without its length")?.value)?.parse()?;
        if input.len() < head + length {
            return Ok(0);
        }
        answered(Answer { request: self.requests, accepted: response.code == Some(200) });
        Ok(head + length)
    }
}
