//! The processes of a fleet, as the program sees them that started them.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crate::member::Settings;
use crate::process::now;

/// The environment variable with the settings of a process.
pub const SETTINGS: &str = "FLEET_PROCESS";
/// What it says once it reads the log.
pub const READY: &str = "ready";
/// No command takes as long.
const PATIENCE: Duration = Duration::from_secs(180);
/// From a command to what all processes begin at the same time.
const AHEAD: Duration = Duration::from_millis(100);

pub struct Process {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
    /// Answers to other commands, which came before the one that was waited for.
    others: Vec<String>,
}

impl Process {
    fn start(settings: &Settings) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.env(SETTINGS, settings.to_line()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Self { child, input, lines, others: Vec::new() }
    }

    pub fn tell(&mut self, command: &str) {
        writeln!(self.input, "{command}").unwrap();
    }

    /// The words of the answer to this command.
    pub fn answer(&mut self, command: &str) -> Vec<String> {
        let is_it = |line: &str| line.split(' ').next() == Some(command);
        let line = match self.others.iter().position(|line| is_it(line)) {
            Some(place) => self.others.remove(place),
            None => loop {
                let line = self.lines.recv_timeout(PATIENCE).expect("a process has ended, or does not answer");
                if is_it(&line) {
                    break line;
                }
                self.others.push(line);
            },
        };
        line.split(' ').skip(1).map(str::to_owned).collect()
    }

    /// The same, of an answer that is numbers.
    pub fn numbers(&mut self, command: &str) -> Vec<u64> {
        self.answer(command).iter().map(|word| word.parse().unwrap()).collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub struct Processes(pub Vec<Process>);

impl Processes {
    /// They all read the log when this returns.
    pub fn start(number: usize, settings: &Settings) -> Self {
        let mut processes: Vec<_> = (0..number).map(|_| Process::start(settings)).collect();
        processes.iter_mut().for_each(|process| _ = process.answer(READY));
        Self(processes)
    }

    pub fn tell(&mut self, mut command: impl FnMut(u64) -> String) {
        for (place, process) in (0..).zip(&mut self.0) {
            process.tell(&command(place));
        }
    }

    pub fn numbers(&mut self, command: &str) -> Vec<Vec<u64>> {
        self.0.iter_mut().map(|process| process.numbers(command)).collect()
    }

    /// What all of them count, in sum.
    pub fn stats(&mut self) -> Counts {
        self.tell(|_| "stats".into());
        let all = self.numbers("stats");
        let sum = |place: usize| all.iter().map(|numbers| numbers[place]).sum();
        Counts { failures: sum(0), gaps: sum(1), waits: sum(2) }
    }
}

/// What processes count of their fleet.
pub struct Counts {
    /// Calls of the engine.
    pub failures: u64,
    pub gaps: u64,
    pub waits: u64,
}

/// When what is told now can begin everywhere.
pub fn soon() -> u64 {
    now() + u64::try_from(AHEAD.as_micros()).unwrap()
}
