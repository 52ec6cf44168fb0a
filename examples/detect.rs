//! Feeds the cases of a labelled manifest through the scanner and writes what it finds.
//!
//! `cargo run --release --example detect -- MANIFEST.jsonl > FOUND.jsonl`, with `--chunk N` to cut
//! every body into pieces of N bytes and `--direction request|response` to pick the rules.

use std::error::Error;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use clap::Parser;
use serde::{Deserialize, Serialize};
use tillgate::scan::{Carrier, Decided, FieldRules, FindKind, Rules, Stream};

#[derive(Parser)]
struct Options {
    /// One case per line.
    manifest: std::path::PathBuf,
    /// Cut every body into pieces of this many bytes.
    #[arg(long)]
    chunk: Option<usize>,
    /// Whose rules apply.
    #[arg(long, value_enum, default_value = "response")]
    direction: Direction,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Direction {
    Request,
    Response,
}

#[derive(Deserialize)]
struct Case {
    id: String,
    content_type: String,
    body: Option<String>,
    body_b64: Option<String>,
    wire_b64: Option<String>,
    file: Option<std::path::PathBuf>,
}

#[derive(Serialize)]
struct Row {
    id: String,
    spans: Vec<(usize, usize)>,
    secs: f64,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let rules = Arc::new(match options.direction {
        Direction::Request => Rules::requests(FieldRules::default()),
        Direction::Response => Rules::responses(FieldRules::default()),
    });
    let mut output = BufWriter::new(std::io::stdout().lock());
    for line in BufReader::new(File::open(&options.manifest)?).lines() {
        let case: Case = serde_json::from_str(&line?)?;
        let body = Bytes::from(case.decoded()?);
        let carrier = Carrier::declared(case.content_type.as_bytes());
        let began = Instant::now();
        let spans = spans(&rules, carrier, &body, options.chunk.unwrap_or(body.len().max(1)));
        let row = Row { id: case.id, spans, secs: began.elapsed().as_secs_f64() };
        serde_json::to_writer(&mut output, &row)?;
        writeln!(output)?;
    }
    Ok(())
}

impl Case {
    /// The body as the labels count it: with its content encoding undone.
    fn decoded(&self) -> Result<Vec<u8>, Box<dyn Error>> {
        if let Some(wire) = &self.wire_b64 {
            let mut body = Vec::new();
            let wire = STANDARD.decode(wire)?;
            flate2::read::GzDecoder::new(wire.as_slice()).read_to_end(&mut body)?;
            return Ok(body);
        }
        match (&self.body, &self.body_b64, &self.file) {
            (Some(text), _, _) => Ok(text.clone().into_bytes()),
            (None, Some(encoded), _) => Ok(STANDARD.decode(encoded)?),
            (None, None, Some(path)) => Ok(fs::read(path)?),
            (None, None, None) => Err("a case without a body".into()),
        }
    }
}

/// Where the scanner finds something, counted from the beginning of the body.
fn spans(rules: &Arc<Rules>, carrier: Carrier, body: &Bytes, chunk: usize) -> Vec<(usize, usize)> {
    let mut stream = Stream::new(Arc::clone(rules), carrier);
    let mut decided: Vec<Decided> = Vec::new();
    for start in (0..body.len()).step_by(chunk.max(1)) {
        stream.push(body.slice(start..body.len().min(start + chunk)), &mut decided);
    }
    stream.finish(&mut decided);
    let mut offset = 0;
    let mut spans = Vec::new();
    for run in decided {
        // The labels tell numbers, not what follows them in a track.
        let numbers = run.finds.iter().filter(|find| !matches!(find.kind, FindKind::TrackTail));
        spans.extend(numbers.map(|find| (offset + find.span.start, offset + find.span.end)));
        offset += run.bytes.len();
    }
    spans
}
