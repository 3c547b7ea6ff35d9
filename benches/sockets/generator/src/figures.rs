//! The figures for the chart, written if the environment says `FIGURES=write`.

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
        "confidence": true,
        "rows": rows(measured),
    });
    std::fs::create_dir_all(DIRECTORY)?;
    std::fs::write(format!("{DIRECTORY}/sockets.json"), format!("{throughput:#}\n"))?;
    println!("\nwritten: docs/performance/sockets.json");
    Ok(())
}

fn rows(measured: &[Measured]) -> Vec<Value> {
    let row = |row: &Measured| {
        let Spread { median, low, high } = row.throughput;
        json!({ "label": row.label, "value": median, "low": low, "high": high, "ours": row.kind == Kind::Ours })
    };
    measured.iter().filter(|row| row.kind != Kind::Aside).map(row).collect()
}
