//! Lines, each named where it ends.

use crate::chart::{Chart, Lines, Series};
use crate::scale::{Axis, Scale, number};
use crate::svg::{Anchor, Drawing, LINE, MARGIN, TEXT, WIDTH, width, wrapped};

/// What a name takes at most before it is broken.
const WIDEST_NAME: f64 = 190.0;
/// Names of ours are bold, which is wider.
const NAME: f64 = TEXT * 1.08;
const HEIGHT: f64 = 300.0;
const GAP: f64 = 8.0;
/// Between the last point and a name: a thin line that leads there, and a sample of the series.
const LEADER: f64 = 18.0;
const SAMPLE: f64 = 24.0;
/// Between one name and the next.
const BETWEEN: f64 = 4.0;
/// Longer series are lines without dots.
const MOST_DOTS: usize = 24;
const DASHES: [&str; 4] = ["none", "8 4", "2 4", "10 3 2 3"];
const COLOURS: usize = 5;

/// A series on its way to the paper.
struct Line<'c> {
    series: &'c Series,
    class: String,
    dashes: &'static str,
    name: Vec<String>,
}

pub fn draw(chart: &Chart, figures: &Lines) -> String {
    let mut drawing = Drawing::new(chart);
    let lines = styled(&figures.series);
    for text in wrapped(&figures.y_label, WIDTH - 2.0 * MARGIN, TEXT) {
        drawing.y += LINE;
        drawing.text((MARGIN, drawing.y - 4.0), Anchor::Start, "quiet", &text);
    }
    let top = drawing.y + GAP;
    let bottom = top + HEIGHT.max(lines.iter().map(height_of_name).sum());
    let y = Axis::of_heights(figures.y_scale, range(figures, |point| point.1), (bottom, top));
    let left = MARGIN + y.marks().into_iter().map(|mark| width(&number(mark), TEXT)).fold(0.0, f64::max) + GAP;
    let names = lines.iter().flat_map(|line| &line.name).map(|text| width(text, NAME)).fold(0.0, f64::max);
    let right = WIDTH - MARGIN - names - GAP - SAMPLE - LEADER;
    let x = Axis::of_points(figures.x_scale, range(figures, |point| point.0), (left + GAP, right));

    marks_of_y(&mut drawing, &y, (left, right));
    marks_of_x(&mut drawing, &x, bottom);
    drawing.line("axis", (left, bottom), (right, bottom));
    // Ours last, above the others.
    for line in lines.iter().filter(|line| !line.series.ours).chain(lines.iter().filter(|line| line.series.ours)) {
        draw_line(&mut drawing, line, &x, &y);
    }
    draw_names(&mut drawing, &lines, &x, &y, (right + LEADER, top, bottom));

    drawing.y = bottom + LINE + 2.0;
    for text in wrapped(&figures.x_label, right - left, TEXT) {
        drawing.y += LINE;
        drawing.text((f64::midpoint(left, right), drawing.y - 2.0), Anchor::Middle, "quiet", &text);
    }
    drawing.finish(chart, note(figures))
}

/// Each with a look of its own: colour and pattern.
fn styled(series: &[Series]) -> Vec<Line<'_>> {
    let (mut ours, mut others) = (0, 0);
    let look = |series: &Series| {
        let count = if series.ours { &mut ours } else { &mut others };
        let n = *count;
        *count += 1;
        let class = if series.ours { "ours".to_owned() } else { format!("other{}", n % COLOURS) };
        (class, DASHES[n % DASHES.len()])
    };
    let looks: Vec<_> = series.iter().map(look).collect();
    let lines = series.iter().zip(looks);
    lines
        .map(|(series, (class, dashes))| Line {
            series,
            class,
            dashes,
            name: wrapped(&series.label, WIDEST_NAME, NAME),
        })
        .collect()
}

fn range(figures: &Lines, coordinate: impl Fn(&(f64, f64)) -> f64) -> (f64, f64) {
    let all = figures.series.iter().flat_map(|series| &series.points).map(coordinate);
    all.fold((f64::MAX, f64::MIN), |(least, most), value| (least.min(value), most.max(value)))
}

fn marks_of_y(drawing: &mut Drawing, axis: &Axis, (left, right): (f64, f64)) {
    for mark in axis.marks() {
        let y = axis.at(mark);
        drawing.line("grid", (left, y), (right, y));
        drawing.text((left - GAP, y + TEXT * 0.36), Anchor::End, "quiet", &number(mark));
    }
}

/// Marks below the axis, as many as have room.
fn marks_of_x(drawing: &mut Drawing, axis: &Axis, bottom: f64) {
    let mut free_from = 0.0;
    for mark in axis.marks() {
        let (x, text) = (axis.at(mark), number(mark));
        let half = width(&text, TEXT) / 2.0;
        if x - half >= free_from {
            drawing.line("axis", (x, bottom), (x, bottom + 4.0));
            drawing.text((x, bottom + LINE), Anchor::Middle, "quiet", &text);
            free_from = x + half + GAP;
        }
    }
}

fn draw_line(drawing: &mut Drawing, line: &Line<'_>, x: &Axis, y: &Axis) {
    let points: Vec<_> = line.series.points.iter().map(|point| (x.at(point.0), y.at(point.1))).collect();
    drawing.path(&line.class, line.dashes, &points);
    if points.len() <= MOST_DOTS {
        for point in points {
            drawing.dot(&line.class, point);
        }
    }
}

/// Names beside the last points, moved apart where these are close to each other, and joined to them by thin lines.
fn draw_names(drawing: &mut Drawing, lines: &[Line<'_>], x: &Axis, y: &Axis, (left, top, bottom): (f64, f64, f64)) {
    let mut ends: Vec<_> = lines
        .iter()
        .map(|line| {
            let (last_x, last_y) = line.series.points[line.series.points.len() - 1];
            (line, (x.at(last_x), y.at(last_y)))
        })
        .collect();
    ends.sort_by(|(_, left), (_, right)| left.1.total_cmp(&right.1));
    let wished: Vec<_> = ends.iter().map(|(line, end)| (end.1, height_of_name(line))).collect();
    for ((line, end), middle) in ends.into_iter().zip(apart(&wished, top, bottom)) {
        drawing.line(&format!("leader {}", line.class), (end.0 + 5.0, end.1), (left, middle));
        drawing.path(&line.class, line.dashes, &[(left, middle), (left + SAMPLE, middle)]);
        let first = middle - (line.name.len() as f64 - 1.0) * LINE / 2.0 + TEXT * 0.36;
        for (n, text) in line.name.iter().enumerate() {
            let class = if line.series.ours { "strong" } else { "" };
            drawing.text((left + SAMPLE + GAP, first + n as f64 * LINE), Anchor::Start, class, text);
        }
    }
}

fn height_of_name(line: &Line<'_>) -> f64 {
    line.name.len() as f64 * LINE + BETWEEN
}

/// The middles of things with these heights, near to where they are wished, from top to bottom, and none over another.
fn apart(wished: &[(f64, f64)], top: f64, bottom: f64) -> Vec<f64> {
    let mut free_from = top;
    let mut middles: Vec<f64> = Vec::new();
    for (middle, height) in wished {
        let middle = middle.max(free_from + height / 2.0);
        free_from = middle + height / 2.0;
        middles.push(middle);
    }
    let mut free_to = bottom;
    for (middle, (_, height)) in middles.iter_mut().zip(wished).rev() {
        *middle = middle.min(free_to - height / 2.0);
        free_to = *middle - height / 2.0;
    }
    middles
}

fn note(figures: &Lines) -> &'static str {
    match (figures.x_scale, figures.y_scale) {
        (Scale::Log, Scale::Log) => "Both scales are logarithmic.",
        (Scale::Log, Scale::Linear) => "The horizontal scale is logarithmic.",
        (Scale::Linear, Scale::Log) => "The vertical scale is logarithmic.",
        (Scale::Linear, Scale::Linear) => "",
    }
}
