//! Draws the charts of the documentation: `cargo bench --bench charts`, at once.
//!
//! It makes an SVG of each file of figures in `docs/performance`, beside it and with the same name. The figures are
//! written by the programs that measure, when `FIGURES=write` asks them to; nothing is measured here. Another folder
//! can be named with `FIGURES_DIR`.
//!
//! The guide in the crate's documentation has no files beside it, so the charts are in `src/guide/charts.md`, too.
//!
//! The same figures make the same bytes. The colours follow the reader's preference for light or dark, and the
//! background is the page's. If a file has not the form of `chart`, the run fails and says which and why; the others
//! are drawn.
#![allow(missing_docs, missing_debug_implementations, unreachable_pub)]
#![allow(clippy::print_stdout)]

mod bars;
mod chart;
mod lines;
mod scale;
mod svg;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use chart::{Chart, Kind};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

const FIGURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/performance");
const GUIDE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/guide/charts.md");

fn main() -> ExitCode {
    let other = std::env::var_os("FIGURES_DIR").map(PathBuf::from);
    let folder = other.clone().unwrap_or_else(|| FIGURES.into());
    let mut code = ExitCode::SUCCESS;
    let mut links = String::new();
    for file in figures_in(&folder) {
        match draw_beside(&file) {
            Ok((path, drawn)) => {
                println!("written: {}", path.display());
                links += &link(&path, &drawn);
            }
            Err(fault) => {
                println!("{}: {fault}", file.display());
                code = ExitCode::FAILURE;
            }
        }
    }
    if other.is_none()
        && let Err(fault) = std::fs::write(GUIDE, links)
    {
        println!("{GUIDE}: {fault}");
        code = ExitCode::FAILURE;
    }
    code
}

/// Has `![..][name.svg]` in Markdown show the chart without a file.
fn link(path: &Path, drawn: &str) -> String {
    const REST: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'%').add(b'<').add(b'>').add(b'\\');
    let name = path.file_name().unwrap_or_default().display();
    format!("[{name}]: <data:image/svg+xml,{}>\n", utf8_percent_encode(drawn, REST))
}

/// The files of figures, in the order of their names.
fn figures_in(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        println!("there is no folder {}", folder.display());
        return Vec::new();
    };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut files: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "json")).collect();
    files.sort();
    files
}

/// Where the chart is, and the chart.
fn draw_beside(file: &Path) -> Result<(PathBuf, String), String> {
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    let chart = Chart::parse(&text)?;
    let drawn = match &chart.kind {
        Kind::Bars(bars) => bars::draw(&chart, bars),
        Kind::Lines(lines) => lines::draw(&chart, lines),
    };
    let path = file.with_extension("svg");
    std::fs::write(&path, &drawn).map_err(|error| error.to_string())?;
    Ok((path, drawn))
}
