//! Writes SVG.

use std::fmt::{Display, Write};

use crate::chart::Chart;

pub const WIDTH: f64 = 720.0;
/// Left free at each side.
pub const MARGIN: f64 = 16.0;
/// Of labels, marks and notes.
pub const TEXT: f64 = 13.0;
/// From one line of text to the next.
pub const LINE: f64 = 17.0;

const TITLE: f64 = 18.0;
const TITLE_LINE: f64 = 24.0;
const COMMAND: f64 = 11.5;

/// Ours is blue. Series of others have a colour each, and a pattern for those who do not tell the colours apart.
const STYLE: &str = "
  text { font: 13px system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', sans-serif; fill: #1f2328 }
  .title { font-size: 18px; font-weight: 600 }
  .quiet { fill: #59636e }
  .command { font: 11.5px ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace; fill: #59636e }
  .strong { font-weight: 600 }
  .grid { stroke: #d1d9e0; stroke-width: 1 }
  .axis { stroke: #818b98; stroke-width: 1 }
  .whisker { stroke: #1f2328; stroke-width: 1.5 }
  .bar { fill: #afb8c1 }
  .bar.ours { fill: #218bff }
  .line { fill: none; stroke-width: 2; stroke-linejoin: round }
  .line.ours { stroke-width: 3 }
  .leader { stroke-width: 1; opacity: 0.6 }
  .ours { stroke: #0969da } .dot.ours { fill: #0969da }
  .other0 { stroke: #6e7781 } .dot.other0 { fill: #6e7781 }
  .other1 { stroke: #bc4c00 } .dot.other1 { fill: #bc4c00 }
  .other2 { stroke: #1a7f37 } .dot.other2 { fill: #1a7f37 }
  .other3 { stroke: #8250df } .dot.other3 { fill: #8250df }
  .other4 { stroke: #bf3989 } .dot.other4 { fill: #bf3989 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .quiet, .command { fill: #9198a1 }
    .grid { stroke: #3d444d }
    .axis { stroke: #818b98 }
    .whisker { stroke: #f0f6fc }
    .bar { fill: #59636e }
    .bar.ours { fill: #1f6feb }
    .ours { stroke: #4493f8 } .dot.ours { fill: #4493f8 }
    .other0 { stroke: #9198a1 } .dot.other0 { fill: #9198a1 }
    .other1 { stroke: #f0883e } .dot.other1 { fill: #f0883e }
    .other2 { stroke: #3fb950 } .dot.other2 { fill: #3fb950 }
    .other3 { stroke: #ab7df8 } .dot.other3 { fill: #ab7df8 }
    .other4 { stroke: #f778ba } .dot.other4 { fill: #f778ba }
  }
  .bar, .dot { stroke: none }
";

#[derive(Clone, Copy)]
pub enum Anchor {
    Start,
    Middle,
    End,
}

impl Anchor {
    fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Middle => "middle",
            Self::End => "end",
        }
    }
}

/// A drawing that grows downwards.
pub struct Drawing {
    elements: String,
    /// Above it everything is drawn.
    pub y: f64,
}

impl Drawing {
    /// Begins with what stands above each chart.
    pub fn new(chart: &Chart) -> Self {
        let mut drawing = Self { elements: String::new(), y: 8.0 };
        for line in wrapped(&chart.title, WIDTH - 2.0 * MARGIN, TITLE * 1.08) {
            drawing.y += TITLE_LINE;
            drawing.text((MARGIN, drawing.y - 4.0), Anchor::Start, "title", &line);
        }
        drawing.paragraph("quiet", &chart.subtitle, TEXT);
        drawing.y += 12.0;
        drawing
    }

    fn paragraph(&mut self, class: &str, text: &str, size: f64) {
        for line in wrapped(text, WIDTH - 2.0 * MARGIN, size) {
            self.y += LINE;
            self.text((MARGIN, self.y - 4.0), Anchor::Start, class, &line);
        }
    }

    /// Ends with a note and the command, which stand below each chart.
    pub fn finish(mut self, chart: &Chart, note: &str) -> String {
        self.y += 6.0;
        if !note.is_empty() {
            self.paragraph("quiet", note, TEXT);
        }
        self.paragraph("command", &format!("$ {}", chart.command), COMMAND);
        let Self { elements, y } = self;
        let (title, height) = (escaped(&chart.title), y + 12.0);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height:.0}\" \
             viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\">\n\
             <title>{title}</title>\n<style>{STYLE}</style>\n{elements}</svg>\n"
        )
    }

    fn element(&mut self, element: impl Display) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.elements, "{element}");
    }

    pub fn text(&mut self, (x, y): (f64, f64), anchor: Anchor, class: &str, text: &str) {
        let (anchor, text) = (anchor.name(), escaped(text));
        self.element(format_args!(
            r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" class="{class}">{text}</text>"#
        ));
    }

    pub fn line(&mut self, class: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
        self.element(format_args!(r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" class="{class}"/>"#));
    }

    pub fn rectangle(&mut self, class: &str, (x, y): (f64, f64), (width, height): (f64, f64)) {
        self.element(format_args!(
            r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" rx="2" class="{class}"/>"#
        ));
    }

    pub fn dot(&mut self, class: &str, (x, y): (f64, f64)) {
        self.element(format_args!(r#"<circle cx="{x:.1}" cy="{y:.1}" r="3.5" class="dot {class}"/>"#));
    }

    /// A line through all of the points. `dashes` is `none` for a solid one.
    pub fn path(&mut self, class: &str, dashes: &str, points: &[(f64, f64)]) {
        let points: Vec<_> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let points = points.join(" ");
        self.element(format_args!(r#"<polyline points="{points}" stroke-dasharray="{dashes}" class="line {class}"/>"#));
    }
}

fn escaped(text: &str) -> String {
    let mut safe = String::new();
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            // XML has no way to write these.
            control if control.is_control() => safe.push(' '),
            other => safe.push(other),
        }
    }
    safe
}

/// How wide a text is at most, in a wide font: which one a reader has is not known.
pub fn width(text: &str, size: f64) -> f64 {
    text.chars().map(|character| part_of_size(character) * size).sum()
}

fn part_of_size(character: char) -> f64 {
    match character {
        ' ' | 'i' | 'j' | 'l' | 'I' | 'f' | 't' | 'r' | '.' | ',' | ':' | ';' | '\'' | '|' | '!' | '(' | ')' | '/' => {
            0.42
        }
        'm' | 'w' | 'M' | 'W' | '@' | '%' => 1.0,
        'A'..='Z' => 0.78,
        _ if character.is_ascii() => 0.64,
        'µ' | '×' | '–' => 0.8,
        _ => 1.0,
    }
}

/// The text in lines that are no wider, broken between words if that is possible.
pub fn wrapped(text: &str, most: f64, size: f64) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        for piece in pieces(word, most, size) {
            let last =
                lines.last_mut().filter(|line| width(line, size) + width(" ", size) + width(&piece, size) <= most);
            match last {
                Some(line) if line.is_empty() => line.push_str(&piece),
                Some(line) => {
                    line.push(' ');
                    line.push_str(&piece);
                }
                None => lines.push(piece),
            }
        }
    }
    lines.retain(|line| !line.is_empty());
    lines
}

/// A word, cut where it would be too wide.
fn pieces(word: &str, most: f64, size: f64) -> Vec<String> {
    let mut pieces = vec![String::new()];
    let mut wide = 0.0;
    for character in word.chars() {
        wide += part_of_size(character) * size;
        if wide > most {
            pieces.push(String::new());
            wide = part_of_size(character) * size;
        }
        if let Some(piece) = pieces.last_mut() {
            piece.push(character);
        }
    }
    pieces
}
