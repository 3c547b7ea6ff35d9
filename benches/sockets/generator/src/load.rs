//! Requests over kept connections, in one thread: as fast as they are answered, or at a rate that does not wait for
//! answers.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};

use crate::Failure;
use crate::report::Latencies;
use crate::wire::{Target, Wire};

/// Tokens take turns in another order than the one they were cached in, as they do in life. A prime that does not
/// divide their number visits each.
const STRIDE: usize = 7_919;
/// A server that says nothing for so long is broken.
const PATIENCE: Duration = Duration::from_secs(20);
const READ_AT_ONCE: usize = 64 * 1024;

#[derive(Clone, Copy, Debug)]
pub enum Plan {
    /// So many, each as soon as there is a place for it.
    Requests(usize),
    /// For so long, each as soon as there is a place for it.
    FullSpeed(Duration),
    /// So many a second, at random moments that only `seed` decides. The time of a request counts from its moment,
    /// whether there is a place for it or not: a slow server does not get fewer of them.
    Rate { per_second: f64, time: Duration, seed: u64 },
}

/// What came of it.
pub struct Outcome {
    /// Answers within the time.
    pub in_time: u64,
    /// All answers, those after the time included.
    pub answers: u64,
    /// Those among them that were not what a good token gets.
    pub refused: u64,
    pub latencies: Latencies,
}

impl Outcome {
    fn nothing() -> Result<Self, Failure> {
        Ok(Self { in_time: 0, answers: 0, refused: 0, latencies: Latencies::new()? })
    }
}

/// Connections to one server, kept from one plan to the next, and tokens in rotation.
pub struct Load<'a> {
    poll: Poll,
    connections: Vec<Connection>,
    tokens: &'a [String],
    next_token: usize,
    next_connection: usize,
    under_way: usize,
    /// Where all connections read to.
    buffer: Vec<u8>,
    outcome: Outcome,
}

struct Connection {
    stream: mio::net::TcpStream,
    wire: Box<dyn Wire>,
    input: Vec<u8>,
    output: Vec<u8>,
    /// Requests without an answer yet: the number, and the moment from which the time counts.
    under_way: Vec<(u32, Instant)>,
    places: usize,
}

impl<'a> Load<'a> {
    /// # Errors
    /// If the server does not listen.
    pub fn connect(target: &Target, tokens: &'a [String]) -> Result<Self, Failure> {
        let poll = Poll::new()?;
        let mut connections = Vec::new();
        for number in 0..target.protocol.connections() {
            let mut connection = Connection::open(target)?;
            poll.registry().register(&mut connection.stream, Token(number), Interest::READABLE | Interest::WRITABLE)?;
            connections.push(connection);
        }
        Ok(Self {
            poll,
            connections,
            tokens,
            next_token: 0,
            next_connection: 0,
            under_way: 0,
            buffer: vec![0; READ_AT_ONCE],
            outcome: Outcome::nothing()?,
        })
    }

    /// Carries out the plan, and waits for the last answer.
    ///
    /// # Errors
    /// If the server does not keep to its protocol, or does not answer.
    pub fn run(&mut self, plan: Plan) -> Result<Outcome, Failure> {
        self.carry_out(plan)?;
        Ok(std::mem::replace(&mut self.outcome, Outcome::nothing()?))
    }

    fn carry_out(&mut self, plan: Plan) -> Result<(), Failure> {
        let start = Instant::now();
        let (end, mut left) = match plan {
            Plan::Requests(requests) => (None, requests),
            Plan::FullSpeed(time) | Plan::Rate { time, .. } => (Some(start + time), usize::MAX),
        };
        let mut moments = Moments::of(plan, start);
        let mut due = VecDeque::new();
        let mut events = Events::with_capacity(256);
        let mut last_answer = start;
        loop {
            let now = Instant::now();
            let over = left == 0 || end.is_some_and(|end| now >= end);
            if over && due.is_empty() && self.under_way == 0 {
                return Ok(());
            }
            match &mut moments {
                Some(moments) => moments.take_until(if over { end.unwrap_or(now) } else { now }, &mut due),
                None if over => {}
                None => due.extend(std::iter::repeat_n(now, self.free_places().min(left))),
            }
            let asked = self.ask(&mut due)?;
            left -= asked.min(left);
            // What waits for its moment spins: no timer of the system is exact enough. The core is the generator's own.
            let wait = if moments.is_some() { Duration::ZERO } else { Duration::from_millis(100) };
            self.poll.poll(&mut events, Some(wait))?;
            let before = self.outcome.answers;
            for event in &events {
                self.hear(event.token().0)?;
            }
            let heard = self.outcome.answers - before;
            if heard > 0 || (self.under_way == 0 && due.is_empty()) {
                last_answer = Instant::now();
                if end.is_none_or(|end| last_answer <= end) {
                    self.outcome.in_time += heard;
                }
            } else if last_answer.elapsed() > PATIENCE {
                return Err(format!("no answer for {PATIENCE:?}").into());
            }
        }
    }

    fn free_places(&self) -> usize {
        self.connections.iter().map(|connection| connection.places).sum::<usize>() - self.under_way
    }

    /// Sends what is due, as far as there are places, each connection in turn. Returns how many those were.
    fn ask(&mut self, due: &mut VecDeque<Instant>) -> Result<usize, Failure> {
        let mut asked = 0;
        for _ in 0..self.connections.len() {
            if due.is_empty() {
                break;
            }
            self.next_connection = (self.next_connection + 1) % self.connections.len();
            let connection = &mut self.connections[self.next_connection];
            // At full speed, one connection may get several; at a rate there is one due at a time, as a rule.
            while connection.under_way.len() < connection.places {
                let Some(moment) = due.pop_front() else { break };
                self.next_token = (self.next_token + STRIDE) % self.tokens.len();
                let request = connection.wire.request(&self.tokens[self.next_token], &mut connection.output);
                connection.under_way.push((request, moment));
                asked += 1;
            }
            connection.flush()?;
        }
        self.under_way += asked;
        Ok(asked)
    }

    fn hear(&mut self, number: usize) -> Result<(), Failure> {
        let Self { connections, outcome, under_way, buffer, .. } = self;
        let connection = &mut connections[number];
        connection.flush()?;
        connection.fill(buffer)?;
        let Connection { wire, input, output, under_way: waiting, .. } = connection;
        let mut taken = 0;
        loop {
            let mut unexpected = false;
            let more = wire.take(&input[taken..], output, &mut |answer| {
                match waiting.iter().position(|(request, _)| *request == answer.request) {
                    Some(at) => outcome.latencies.record_since(waiting.swap_remove(at).1),
                    None => unexpected = true,
                }
                *under_way -= 1;
                outcome.answers += 1;
                outcome.refused += u64::from(!answer.accepted);
            })?;
            if unexpected {
                return Err("an answer that nobody waits for".into());
            }
            if more == 0 {
                break;
            }
            taken += more;
        }
        input.drain(..taken);
        connection.flush()
    }
}

impl Connection {
    fn open(target: &Target) -> Result<Self, Failure> {
        let stream = TcpStream::connect_timeout(&target.address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut wire = target.wire();
        let mut output = Vec::new();
        wire.hello(&mut output);
        Ok(Self {
            stream: mio::net::TcpStream::from_std(stream),
            wire,
            input: Vec::new(),
            output,
            under_way: Vec::new(),
            places: target.protocol.requests_on_one(),
        })
    }

    /// Sends what there is. What does not fit is sent when the system says that there is room again.
    fn flush(&mut self) -> Result<(), Failure> {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(sent) => drop(self.output.drain(..sent)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Reads what there is. Less than was asked for means that there is no more: the system says so when more comes.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), Failure> {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return Err("the server closed a connection".into()),
                Ok(read) => {
                    self.input.extend_from_slice(&buffer[..read]);
                    if read < buffer.len() {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// When requests are due: at random, independent of each other, as with many clients that know nothing of each other.
struct Moments {
    next: Instant,
    mean_gap: f64,
    state: u64,
}

impl Moments {
    fn of(plan: Plan, start: Instant) -> Option<Self> {
        let Plan::Rate { per_second, seed, .. } = plan else { return None };
        let mut moments = Self { next: start, mean_gap: 1.0 / per_second, state: seed.wrapping_mul(2) | 1 };
        moments.advance();
        Some(moments)
    }

    fn take_until(&mut self, now: Instant, due: &mut VecDeque<Instant>) {
        while self.next < now {
            due.push_back(self.next);
            self.advance();
        }
    }

    fn advance(&mut self) {
        let gap = -self.uniform().ln() * self.mean_gap;
        self.next += Duration::from_secs_f64(gap);
    }

    /// Above 0, at most 1: SplitMix64.
    #[allow(clippy::cast_precision_loss)]
    fn uniform(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        ((bits >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }
}
