//! What a file of figures says.

use serde::Deserialize;

use crate::scale::Scale;

#[derive(Deserialize)]
pub struct Chart {
    pub title: String,
    pub subtitle: String,
    /// What measures these figures.
    pub command: String,
    #[serde(flatten)]
    pub kind: Kind,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Kind {
    Bars(Bars),
    Lines(Lines),
}

#[derive(Deserialize)]
pub struct Bars {
    pub unit: String,
    pub scale: Scale,
    pub rows: Vec<Row>,
    /// `low` and `high` are the bounds of the median at a confidence of 95 %.
    #[serde(default)]
    pub confidence: bool,
}

/// A median, and the lowest and highest of what it is the median of, or its bounds.
#[derive(Deserialize)]
pub struct Row {
    pub label: String,
    pub value: f64,
    pub low: f64,
    pub high: f64,
    pub ours: bool,
}

#[derive(Deserialize)]
pub struct Lines {
    pub x_label: String,
    pub y_label: String,
    pub x_scale: Scale,
    pub y_scale: Scale,
    pub series: Vec<Series>,
}

#[derive(Deserialize)]
pub struct Series {
    pub label: String,
    pub ours: bool,
    pub points: Vec<(f64, f64)>,
}

impl Chart {
    /// Reads and checks one.
    pub fn parse(text: &str) -> Result<Self, String> {
        let chart: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        match &chart.kind {
            Kind::Bars(bars) => bars.check()?,
            Kind::Lines(lines) => lines.check()?,
        }
        for (name, text) in [("title", &chart.title), ("subtitle", &chart.subtitle), ("command", &chart.command)] {
            require(!text.trim().is_empty(), || format!("{name} is empty"))?;
        }
        Ok(chart)
    }
}

impl Bars {
    fn check(&self) -> Result<(), String> {
        require(!self.rows.is_empty(), || "it has no rows".into())?;
        for Row { label, value, low, high, .. } in &self.rows {
            require(!label.trim().is_empty(), || "a row has no label".into())?;
            require(low <= value && value <= high, || {
                format!("{label:?}: {value} is not between low {low} and high {high}")
            })?;
            self.scale.check(*low).map_err(|fault| format!("{label:?}: {fault}"))?;
        }
        Ok(())
    }
}

impl Lines {
    fn check(&self) -> Result<(), String> {
        require(!self.series.is_empty(), || "it has no series".into())?;
        for Series { label, points, .. } in &self.series {
            require(!label.trim().is_empty(), || "a series has no label".into())?;
            require(!points.is_empty(), || format!("{label:?}: it has no points"))?;
            require(points.is_sorted_by(|left, right| left.0 < right.0), || format!("{label:?}: x does not rise"))?;
            for (x, y) in points {
                self.x_scale.check(*x).map_err(|fault| format!("{label:?}, x: {fault}"))?;
                self.y_scale.check(*y).map_err(|fault| format!("{label:?}, y: {fault}"))?;
            }
        }
        Ok(())
    }
}

fn require(holds: bool, fault: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(fault()) }
}
