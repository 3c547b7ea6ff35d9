//! The sections of the page.

use std::fmt::{self, Write};

use super::figures::{Figure, Group, QUANTILES, Shown, quantile, shown};
use crate::cache::handle::CacheHandle;

/// One section of the page. Its script finds the cells by `data-figure`, and fills them by `data-format`.
pub(super) fn write_cache(page: &mut String, cache: &CacheHandle) -> fmt::Result {
    let Shown { name, health, groups, times } = shown(cache);
    let name = Escaped(&name);
    write!(
        page,
        r#"<section data-name="{name}" aria-label="Cache {name}"><h2><bdi>{name}</bdi>{}</h2><div class="cards">"#,
        Cell("span", "health", &Figure::Word(health))
    )?;
    for Group { title, figures } in &groups {
        write!(page, "<div><table><caption>{title}</caption><tbody>")?;
        for (label, key, figure) in figures {
            write!(page, r#"<tr><th scope="row">{label}</th>{}</tr>"#, Cell("td", key, figure))?;
        }
        page.write_str("</tbody></table></div>")?;
    }
    page.write_str("<div><table><caption>Times</caption><thead><tr><td></td>")?;
    for (name, _) in QUANTILES {
        write!(page, r#"<th scope="col">{name}</th>"#)?;
    }
    page.write_str("</tr></thead><tbody>")?;
    for (label, key, histogram) in &times {
        write!(page, r#"<tr><th scope="row">{label}</th>"#)?;
        for (name, part) in QUANTILES {
            let seconds = quantile(histogram, part).map_or_else(|| NONE.to_owned(), in_seconds);
            write!(page, r#"<td data-figure="{key}.{name}" data-format="seconds">{seconds}</td>"#)?;
        }
        page.write_str("</tr>")?;
    }
    page.write_str("</tbody></table></div></div></section>")
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
            Figure::Count(number) => write!(f, r#"count">{}"#, Grouped(*number))?,
            Figure::Ratio(None) => write!(f, r#"ratio">{NONE}"#)?,
            Figure::Ratio(Some(ratio)) => write!(f, r#"ratio">{:.1}%"#, ratio * 100.0)?,
            Figure::Kinds(kinds) => {
                // The space between a number and its kind is one that no line is broken at.
                f.write_str(r#"kinds">"#)?;
                for (at, (kind, count)) in kinds.iter().enumerate() {
                    let separator = if at == 0 { "" } else { ", " };
                    write!(f, "{separator}{}&nbsp;{kind}", Grouped(count.as_u64().unwrap_or(0)))?;
                }
                f.write_str(if kinds.is_empty() { "none" } else { "" })?;
            }
        }
        write!(f, "</{element}>")
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
    }
}
