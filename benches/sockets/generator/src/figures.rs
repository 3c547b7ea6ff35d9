//! The figures for the charts, written if the environment says `FIGURES=write`.

use serde_json::{Value, json};

use crate::pairs::Spread;
use crate::{Failure, Kind, Measured};

const COMMAND: &str = "bash benches/sockets/run";
const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../docs/performance");

/// # Errors
/// If a file cannot be written.
pub fn write(measured: &[Measured]) -> Result<(), Failure> {
    if std::env::var("FIGURES").as_deref() != Ok("write") {
        return Ok(());
    }
    let throughput = json!({
        "title": "Throughput that is left, over sockets",
        "subtitle": "guarded by unguarded, one core, 10,000 cached tokens in rotation; 1 is no loss",
        "command": COMMAND,
        "kind": "bars",
        "unit": "times",
        "scale": "linear",
        "rows": rows(measured, |row| row.throughput),
    });
    let added = json!({
        "title": "Processor time that a check adds to a request",
        "subtitle": "of the server, over sockets, 10,000 cached tokens in rotation",
        "command": COMMAND,
        "kind": "bars",
        "unit": "ns",
        "scale": "linear",
        "rows": rows(measured, |row| row.added_nanoseconds),
    });
    std::fs::create_dir_all(DIRECTORY)?;
    for (name, figures) in [("sockets", throughput), ("sockets-processor-time", added)] {
        std::fs::write(format!("{DIRECTORY}/{name}.json"), format!("{figures:#}\n"))?;
        println!("\nwritten: docs/performance/{name}.json");
    }
    Ok(())
}

fn rows(measured: &[Measured], figure: impl Fn(&Measured) -> Spread) -> Vec<Value> {
    let row = |row: &Measured| {
        let Spread { median, low, high } = figure(row);
        json!({ "label": row.label, "value": median, "low": low, "high": high, "ours": row.kind == Kind::Ours })
    };
    measured.iter().filter(|row| row.kind != Kind::Aside).map(row).collect()
}
