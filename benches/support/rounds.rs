//! What several rounds of one measurement come to.

use std::fmt;

/// The median of some rounds, and the lowest and the highest of them.
#[derive(Clone, Copy, Debug)]
pub struct Rounds {
    pub median: f64,
    pub low: f64,
    pub high: f64,
}

impl Rounds {
    /// At least one.
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let (middle, last) = (values.len() / 2, values.len() - 1);
        let median = if values.len().is_multiple_of(2) {
            f64::midpoint(values[middle - 1], values[middle])
        } else {
            values[middle]
        };
        Self { median, low: values[0], high: values[last] }
    }

    /// What `ratio` makes of each pair of rounds that were measured side by side.
    pub fn of_pairs(some: &[f64], others: &[f64], ratio: impl Fn(f64, f64) -> f64) -> Self {
        Self::of(some.iter().zip(others).map(|(one, other)| ratio(*one, *other)).collect())
    }
}

/// With as many digits after the point as are asked for.
impl fmt::Display for Rounds {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let digits = f.precision().unwrap_or(0);
        let Self { median, low, high } = self;
        write!(f, "{median:.digits$} ({low:.digits$} to {high:.digits$})")
    }
}
