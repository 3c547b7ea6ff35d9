//! Bars, one below the other.

use crate::chart::{Bars, Chart, Row};
use crate::scale::{Axis, Scale, quantity};
use crate::svg::{Anchor, Drawing, LINE, MARGIN, TEXT, WIDTH, width, wrapped};

/// What a label takes at most before it is broken.
const WIDEST_LABEL: f64 = 250.0;
const GAP: f64 = 8.0;
const THICKNESS: f64 = 18.0;
const BETWEEN: f64 = 12.0;
/// Labels of ours are bold, which is wider.
const LABEL: f64 = TEXT * 1.08;

pub fn draw(chart: &Chart, bars: &Bars) -> String {
    let mut drawing = Drawing::new(chart);
    let labels: Vec<_> = bars.rows.iter().map(|row| wrapped(&row.label, WIDEST_LABEL, LABEL)).collect();
    let start = MARGIN + widest(labels.iter().flatten(), LABEL) + GAP;
    let axis = axis(bars, start);

    let top = drawing.y;
    let heights: Vec<_> = labels.iter().map(|lines| (lines.len() as f64 * LINE).max(THICKNESS) + BETWEEN).collect();
    let bottom = top + heights.iter().sum::<f64>();
    marks(&mut drawing, bars, &axis, (top, bottom));
    for ((row, label), height) in bars.rows.iter().zip(&labels).zip(heights) {
        let middle = drawing.y + height / 2.0;
        draw_label(&mut drawing, label, (start - GAP, middle), row.ours);
        draw_bar(&mut drawing, row, &axis, (start, middle));
        draw_value(&mut drawing, row, &value_text(bars, row), (axis.at(row.high) + GAP, middle));
        drawing.y += height;
    }
    drawing.line("axis", (start, top), (start, bottom));
    drawing.y = bottom + LINE;
    drawing.finish(chart, note(bars))
}

/// From where the labels end to where the widest value still has room beside the longest bar.
fn axis(bars: &Bars, start: f64) -> Axis {
    let values: Vec<_> = bars.rows.iter().map(|row| value_text(bars, row)).collect();
    let end = WIDTH - MARGIN - widest(&values, LABEL) - GAP;
    let least = bars.rows.iter().map(|row| row.low).fold(f64::MAX, f64::min);
    Axis::of_lengths(bars.scale, (least, most(bars)), (start, end))
}

fn most(bars: &Bars) -> f64 {
    bars.rows.iter().map(|row| row.high).fold(0.0, f64::max)
}

fn widest<'t>(texts: impl IntoIterator<Item = &'t String>, size: f64) -> f64 {
    texts.into_iter().map(|text| width(text, size)).fold(0.0, f64::max)
}

/// On a linear scale, all in the same unit; on a logarithmic one, each in its own.
fn text_of(bars: &Bars, value: f64) -> String {
    quantity(value, &bars.unit, if bars.scale == Scale::Log { value } else { most(bars) })
}

fn value_text(bars: &Bars, row: &Row) -> String {
    text_of(bars, row.value)
}

/// Marks below the bars, as many as have room.
fn marks(drawing: &mut Drawing, bars: &Bars, axis: &Axis, (top, bottom): (f64, f64)) {
    let mut free_from = 0.0;
    for mark in axis.marks() {
        let (x, text) = (axis.at(mark), text_of(bars, mark));
        let half = width(&text, TEXT) / 2.0;
        drawing.line("grid", (x, top), (x, bottom));
        if x - half >= free_from && x + half <= WIDTH - 2.0 {
            drawing.text((x, bottom + LINE - 2.0), Anchor::Middle, "quiet", &text);
            free_from = x + half + GAP;
        }
    }
}

fn draw_label(drawing: &mut Drawing, lines: &[String], (x, middle): (f64, f64), ours: bool) {
    let first = middle - (lines.len() as f64 - 1.0) * LINE / 2.0 + TEXT * 0.36;
    for (n, line) in lines.iter().enumerate() {
        drawing.text((x, first + n as f64 * LINE), Anchor::End, weight(ours), line);
    }
}

fn draw_bar(drawing: &mut Drawing, row: &Row, axis: &Axis, (start, middle): (f64, f64)) {
    let class = if row.ours { "bar ours" } else { "bar" };
    drawing.rectangle(class, (start, middle - THICKNESS / 2.0), (axis.at(row.value) - start, THICKNESS));
    if row.low < row.high {
        let (low, high) = (axis.at(row.low), axis.at(row.high));
        drawing.line("whisker", (low, middle), (high, middle));
        for end in [low, high] {
            drawing.line("whisker", (end, middle - 4.0), (end, middle + 4.0));
        }
    }
}

fn draw_value(drawing: &mut Drawing, row: &Row, text: &str, (x, middle): (f64, f64)) {
    drawing.text((x, middle + TEXT * 0.36), Anchor::Start, weight(row.ours), text);
}

fn weight(ours: bool) -> &'static str {
    if ours { "strong" } else { "" }
}

fn note(bars: &Bars) -> &'static str {
    let spread = bars.rows.iter().any(|row| row.low < row.high);
    match (bars.scale, spread) {
        (Scale::Linear, true) if bars.confidence => "Medians; the thin lines are their bounds at a confidence of 95 %.",
        (Scale::Log, true) => "Logarithmic scale. Medians; the thin lines go from the lowest round to the highest.",
        (Scale::Log, false) => "Logarithmic scale.",
        (Scale::Linear, true) => "Medians; the thin lines go from the lowest round to the highest.",
        (Scale::Linear, false) => "",
    }
}
