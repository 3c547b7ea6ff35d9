//! Figures for the charts of the documentation. A program writes them only when `FIGURES=write` asks for it.

use std::path::Path;

use serde_json::{Value, json};

/// A line of a chart.
pub struct Series {
    pub label: String,
    /// Whether it is this crate's.
    pub ours: bool,
    pub points: Vec<(f64, f64)>,
}

/// What a chart of lines says beside its lines.
pub struct Lines<'a> {
    pub title: &'a str,
    pub subtitle: &'a str,
    pub command: &'a str,
    /// What is along the axis, and `log` or `linear`.
    pub x: (&'a str, &'a str),
    pub y: (&'a str, &'a str),
}

/// A bar of a chart: a median, and the lowest and highest of what it is the median of.
pub struct Row {
    pub label: String,
    pub value: f64,
    pub low: f64,
    pub high: f64,
    pub ours: bool,
}

/// What a chart of bars says beside its bars.
pub struct Bars<'a> {
    pub title: &'a str,
    pub subtitle: &'a str,
    pub command: &'a str,
    pub unit: &'a str,
    /// `log` or `linear`.
    pub scale: &'a str,
}

impl Lines<'_> {
    pub fn write(&self, name: &str, series: &[Series]) {
        let series: Vec<Value> = series
            .iter()
            .map(|series| json!({ "label": series.label, "ours": series.ours, "points": series.points }))
            .collect();
        write(
            name,
            &json!({
                "title": self.title,
                "subtitle": self.subtitle,
                "command": self.command,
                "kind": "lines",
                "x_label": self.x.0,
                "x_scale": self.x.1,
                "y_label": self.y.0,
                "y_scale": self.y.1,
                "series": series,
            }),
        );
    }
}

impl Bars<'_> {
    pub fn write(&self, name: &str, rows: &[Row]) {
        let rows: Vec<Value> = rows
            .iter()
            .map(|row| {
                let Row { label, value, low, high, ours } = row;
                json!({ "label": label, "value": value, "low": low, "high": high, "ours": ours })
            })
            .collect();
        write(
            name,
            &json!({
                "title": self.title,
                "subtitle": self.subtitle,
                "command": self.command,
                "kind": "bars",
                "unit": self.unit,
                "scale": self.scale,
                "rows": rows,
            }),
        );
    }
}

fn write(name: &str, chart: &Value) {
    if std::env::var("FIGURES").as_deref() != Ok("write") {
        return;
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/performance");
    std::fs::create_dir_all(&folder).unwrap();
    let text = serde_json::to_string_pretty(chart).unwrap();
    std::fs::write(folder.join(format!("{name}.json")), text + "\n").unwrap();
    println!("written: docs/performance/{name}.json");
}
