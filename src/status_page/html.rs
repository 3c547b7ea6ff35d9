//! The sections of the page.

use std::fmt::{self, Write};
use std::time::UNIX_EPOCH;

use super::figures::{Figure, Group, QUANTILES, Shown, quantile};
use crate::clock::Timestamp;
use crate::protection::LastFailure;

/// Where in the JSON the figures of a part of the page are: the list, and the place in it.
#[derive(Clone, Copy)]
pub(super) struct Place(pub(super) &'static str, pub(super) usize);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, r#"data-of="{}" data-at="{}""#, self.0, self.1)
    }
}

/// The line at the top of the page that tells what to look at first.
pub(super) fn write_glance(page: &mut String, place: Place, shown: &Shown) -> fmt::Result {
    write!(page, r#"<li {place}><b><bdi>{}</bdi></b>"#, Escaped(&shown.name))?;
    for (label, key, figure) in &shown.glance {
        write!(page, "<span>{label}: {}</span>", Cell("span", key, figure))?;
    }
    page.write_str("</li>")
}

/// One section of the page. Its script finds the cells by `data-figure`, and fills them by `data-format`.
pub(super) fn write_section(page: &mut String, what: &str, place: Place, shown: &Shown) -> fmt::Result {
    let Shown { name, glance: _, groups, times } = shown;
    let name = Escaped(name);
    write!(
        page,
        r#"<section {place} data-name="{name}" aria-label="{what} {name}"><h2>{what} <bdi>{name}</bdi></h2><div class="cards">"#,
    )?;
    for Group { title, rows } in groups {
        write!(page, "<div><table><caption>{title}</caption><tbody>")?;
        for (label, key, figure) in rows {
            write!(page, r#"<tr><th scope="row">{label}</th>{}</tr>"#, Cell("td", key, figure))?;
        }
        page.write_str("</tbody></table></div>")?;
    }
    if !times.is_empty() {
        page.write_str("<div><table><caption>Times</caption><thead><tr><td></td>")?;
        for (name, _) in QUANTILES {
            write!(page, r#"<th scope="col">{name}</th>"#)?;
        }
        page.write_str("</tr></thead><tbody>")?;
        for (label, key, histogram) in times {
            write!(page, r#"<tr><th scope="row">{label}</th>"#)?;
            for (name, part) in QUANTILES {
                let key = format!("{key}.{name}");
                write!(page, "{}", Cell("td", &key, &quantile(histogram, part)))?;
            }
            page.write_str("</tr>")?;
        }
        page.write_str("</tbody></table></div>")?;
    }
    page.write_str("</div></section>")
}

/// What stands where there is nothing to measure yet.
const NONE: &str = "–";

/// An element with a figure in it, by which the page's script finds it.
struct Cell<'a>(&'static str, &'a str, &'a Figure);

impl fmt::Display for Cell<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self(element, key, figure) = self;
        write!(f, r#"<{element} data-figure="{key}" data-format=""#)?;
        match figure {
            Figure::Word(word) => write!(f, r#"word" data-word="{word}">{word}"#)?,
            Figure::Text(text) => write!(f, r#"text">{}"#, Escaped(text))?,
            Figure::Count(number) => write!(f, r#"count">{}"#, Grouped(*number))?,
            Figure::Ratio(None) => write!(f, r#"ratio">{NONE}"#)?,
            Figure::Ratio(Some(ratio)) => write!(f, r#"ratio">{:.1}%"#, ratio * 100.0)?,
            Figure::Seconds(seconds) => {
                write!(f, r#"seconds">{}"#, seconds.map_or_else(|| NONE.to_owned(), in_seconds))?;
            }
            Figure::Kinds(kinds) => {
                f.write_str(r#"kinds">"#)?;
                let mut kinds: Vec<_> =
                    kinds.iter().map(|(kind, count)| (kind, count.as_u64().unwrap_or_default())).collect();
                // The most frequent one first; those alike stay in the order of their names.
                kinds.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
                for (at, (kind, count)) in kinds.iter().enumerate() {
                    // The space between a number and its kind is one that no line is broken at.
                    let separator = if at == 0 { "" } else { ", " };
                    write!(f, "{separator}{}&nbsp;{}", Grouped(*count), kind.replace('_', " "))?;
                }
                f.write_str(if kinds.is_empty() { "none" } else { "" })?;
            }
            Figure::Failure(None) => f.write_str(r#"failure">none"#)?,
            Figure::Failure(Some((LastFailure { at, kind, text }, seconds_ago))) => write!(
                f,
                r#"failure">{} ago, {}: {}: {}"#,
                whole(*seconds_ago),
                http_date(*at),
                kind.as_str().replace('_', " "),
                Escaped(text)
            )?,
        }
        write!(f, "</{element}>")
    }
}

pub(super) fn http_date(at: Timestamp) -> String {
    httpdate::fmt_http_date(at.to_system_time().unwrap_or(UNIX_EPOCH))
}

/// A time that has passed, in its largest unit, as the page's script writes it.
fn whole(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// A number with commas between its thousands.
struct Grouped(u64);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let digits = self.0.to_string();
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                f.write_char(',')?;
            }
            f.write_char(digit)?;
        }
        Ok(())
    }
}

/// A duration with three digits, as the page's script writes it.
fn in_seconds(seconds: f64) -> String {
    let (number, unit) = match seconds {
        _ if seconds < 1e-3 => (seconds * 1e6, "µs"),
        _ if seconds < 1.0 => (seconds * 1e3, "ms"),
        _ => (seconds, "s"),
    };
    let decimals = match number {
        _ if number < 10.0 => 2,
        _ if number < 100.0 => 1,
        _ => 0,
    };
    let text = format!("{number:.decimals$}");
    let text = if decimals == 0 { &*text } else { text.trim_end_matches('0').trim_end_matches('.') };
    format!("{text} {unit}")
}

/// Text that means nothing to a browser, in elements and in quoted attributes.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        let grouped = [0, 7, 999, 1_000, 12_345, 1_234_567].map(|number| Grouped(number).to_string());
        assert_eq!(grouped, ["0", "7", "999", "1,000", "12,345", "1,234,567"]);
        let times = [0.0, 2e-6, 999e-6, 1e-3, 1.25e-3, 0.010_24, 0.1, 0.999_9, 1.0, 59.96, 180.0].map(in_seconds);
        let wanted =
            ["0 µs", "2 µs", "999 µs", "1 ms", "1.25 ms", "10.2 ms", "100 ms", "1000 ms", "1 s", "60 s", "180 s"];
        assert_eq!(times, wanted);
        let ago = [0, 119, 120, 7_199, 7_200, 172_799, 172_800].map(whole);
        assert_eq!(ago, ["0 s", "119 s", "2 min", "119 min", "2 h", "47 h", "2 d"]);
    }
}
