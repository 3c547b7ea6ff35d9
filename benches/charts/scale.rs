//! Where a figure is on an axis, what is marked there, and how it is written.

use serde::Deserialize;

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scale {
    Linear,
    Log,
}

impl Scale {
    /// Whether a figure can be shown.
    pub fn check(self, value: f64) -> Result<(), String> {
        match self {
            Self::Linear if value < 0.0 => Err(format!("{value} is below zero")),
            Self::Log if value <= 0.0 => Err(format!("{value} cannot be on a logarithmic scale")),
            _ => Ok(()),
        }
    }
}

/// An axis from one figure to another, and from one place to another.
pub struct Axis {
    scale: Scale,
    from: f64,
    pub to: f64,
    start: f64,
    end: f64,
}

impl Axis {
    /// One that bars can stand on: it starts at zero, or well below the least of them.
    pub fn of_lengths(scale: Scale, (least, most): (f64, f64), (start, end): (f64, f64)) -> Self {
        let from = match scale {
            Scale::Linear => 0.0,
            Scale::Log => decade_below(least / 1.5),
        };
        Self { scale, from, to: if most > from { most } else { from + 1.0 }, start, end }
    }

    /// One for heights: it starts at zero, or at a mark below the least, and ends at a mark.
    pub fn of_heights(scale: Scale, (least, most): (f64, f64), (start, end): (f64, f64)) -> Self {
        let (from, to) = match scale {
            Scale::Linear => (0.0, above(most, linear_step(most))),
            Scale::Log => (round_below(least), round_above(most)),
        };
        Self { scale, from, to: if to > from { to } else { from * 10.0 + 1.0 }, start, end }
    }

    /// One that begins with the first point and ends with the last.
    pub fn of_points(scale: Scale, (from, to): (f64, f64), (start, end): (f64, f64)) -> Self {
        Self { scale, from, to: if to > from { to } else { from + 1.0 }, start, end }
    }

    pub fn at(&self, value: f64) -> f64 {
        let part = match self.scale {
            Scale::Linear => (value - self.from) / (self.to - self.from),
            Scale::Log => (value / self.from).ln() / (self.to / self.from).ln(),
        };
        self.start + part * (self.end - self.start)
    }

    /// Round figures along the axis.
    pub fn marks(&self) -> Vec<f64> {
        match self.scale {
            Scale::Linear => {
                let step = linear_step(self.to - self.from);
                let first = (self.from / step).ceil();
                (0..20).map(|n| (first + f64::from(n)) * step).filter(|mark| self.holds(*mark)).collect()
            }
            Scale::Log => {
                let decades = self.decades(&[1.0]);
                if decades.len() > 2 { decades } else { self.decades(&[1.0, 2.0, 5.0]) }
            }
        }
    }

    fn decades(&self, digits: &[f64]) -> Vec<f64> {
        let first = decade_below(self.from);
        let decades =
            std::iter::successors(Some(first), |decade| Some(decade * 10.0)).take_while(|mark| *mark <= self.to);
        decades
            .flat_map(|decade| digits.iter().map(move |digit| digit * decade))
            .filter(|mark| self.holds(*mark))
            .collect()
    }

    fn holds(&self, mark: f64) -> bool {
        let slack = 1e-9 * self.to;
        (self.from - slack..=self.to + slack).contains(&mark)
    }
}

/// The greatest power of ten that is not above.
fn decade_below(value: f64) -> f64 {
    let mut decade = 1.0;
    while decade > value {
        decade /= 10.0;
    }
    while decade * 10.0 <= value {
        decade *= 10.0;
    }
    decade
}

/// The greatest of 1, 2, 5, 10 and so on that is not above.
fn round_below(value: f64) -> f64 {
    let decade = decade_below(value);
    [5.0, 2.0].map(|digit| digit * decade).into_iter().find(|round| *round <= value).unwrap_or(decade)
}

/// The least of 1, 2, 5, 10 and so on that is not below.
fn round_above(value: f64) -> f64 {
    let decade = decade_below(value);
    [1.0, 2.0, 5.0].map(|digit| digit * decade).into_iter().find(|round| *round >= value).unwrap_or(10.0 * decade)
}

/// A round step of which there are about five.
fn linear_step(span: f64) -> f64 {
    if span > 0.0 { round_above(span / 6.0) } else { 1.0 }
}

fn above(value: f64, step: f64) -> f64 {
    (value / step).ceil() * step
}

/// With three digits that say something, and thousands apart: `12,300`, `1.25`, `0.031`.
pub fn number(value: f64) -> String {
    let mut decimals = 0;
    let mut digits = value.abs();
    while digits > 0.0 && digits < 99.95 && decimals < 9 {
        digits *= 10.0;
        decimals += 1;
    }
    let text = format!("{value:.decimals$}");
    match text.split_once('.') {
        None => thousands(&text),
        Some((whole, fraction)) => match fraction.trim_end_matches('0') {
            "" => thousands(whole),
            fraction => format!("{}.{fraction}", thousands(whole)),
        },
    }
}

fn thousands(digits: &str) -> String {
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// With its unit. Times are written in the unit that suits `like`, a figure of the same kind.
pub fn quantity(value: f64, unit: &str, like: f64) -> String {
    const TIMES: [(&str, f64); 4] = [("s", 1e9), ("ms", 1e6), ("µs", 1e3), ("ns", 1.0)];
    let unit = if unit == "us" { "µs" } else { unit };
    let Some((_, nanoseconds)) = TIMES.into_iter().find(|(name, _)| *name == unit) else {
        return format!("{} {unit}", number(value));
    };
    let suits = |(_, size): &(&str, f64)| like * nanoseconds >= *size;
    let (name, size) = TIMES.into_iter().find(suits).unwrap_or(("ns", 1.0));
    format!("{} {name}", number(value * nanoseconds / size))
}
