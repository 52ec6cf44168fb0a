//! Feeds the cases of a labelled manifest through the decoder and the scanner that a proxied body goes
//! through, and writes what they find.
//!
//! `cargo run --release --example detect -- MANIFEST.jsonl > FOUND.jsonl`, with `--chunk N` to cut
//! every body into pieces of N bytes and `--direction request|response` to pick the rules.

use std::error::Error;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use clap::Parser;
use http::header::{CONTENT_ENCODING, HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};
use tillgate::coding::{Bounds, Coding, DecodeError, Decoder};
use tillgate::scan::{Carrier, Decided, FieldRules, FindKind, Rules, Stream};

/// What the proxy allows where the configuration says nothing.
const BOUNDS: Bounds = Bounds { bytes_max: 64 << 20, ratio_max: 100 };

#[derive(Parser)]
struct Options {
    /// One case per line.
    manifest: std::path::PathBuf,
    /// Cut every body, as it is on the wire, into pieces of this many bytes.
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
    #[serde(default)]
    content_encoding: String,
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
        let carrier = Carrier::declared(case.content_type.as_bytes());
        let (codings, wire) = (case.codings()?, Bytes::from(case.wire()?));
        let chunk = options.chunk.unwrap_or(wire.len()).max(1);
        let began = Instant::now();
        let spans = spans(Stream::new(Arc::clone(&rules), carrier), &codings, &wire, chunk)?;
        let row = Row { id: case.id, spans, secs: began.elapsed().as_secs_f64() };
        serde_json::to_writer(&mut output, &row)?;
        writeln!(output)?;
    }
    Ok(())
}

impl Case {
    fn codings(&self) -> Result<Vec<Coding>, Box<dyn Error>> {
        if self.wire_b64.is_none() {
            return Ok(Vec::new());
        }
        let value = HeaderValue::try_from(&self.content_encoding)?;
        Ok(Coding::of(&HeaderMap::from_iter([(CONTENT_ENCODING, value)]))?)
    }

    /// The body as it is sent.
    fn wire(&self) -> Result<Vec<u8>, Box<dyn Error>> {
        match (&self.wire_b64, &self.body, &self.body_b64, &self.file) {
            (Some(encoded), ..) | (None, None, Some(encoded), _) => Ok(STANDARD.decode(encoded)?),
            (None, Some(text), ..) => Ok(text.clone().into_bytes()),
            (None, None, None, Some(path)) => Ok(fs::read(path)?),
            (None, None, None, None) => Err("a case without a body".into()),
        }
    }
}

/// Where the scanner finds something, counted from the beginning of the decoded body.
fn spans(
    mut stream: Stream,
    codings: &[Coding],
    wire: &Bytes,
    chunk: usize,
) -> Result<Vec<(usize, usize)>, DecodeError> {
    let mut decoder = Decoder::new(codings, BOUNDS)?;
    let mut decided: Vec<Decided> = Vec::new();
    for start in (0..wire.len()).step_by(chunk) {
        let piece = wire.slice(start..wire.len().min(start + chunk));
        if codings.is_empty() {
            stream.push(piece, &mut decided);
            continue;
        }
        let mut decoded = Vec::new();
        decoder.push(&piece, &mut decoded)?;
        stream.push(Bytes::from(decoded), &mut decided);
    }
    let mut rest = Vec::new();
    decoder.finish(&mut rest)?;
    stream.push(Bytes::from(rest), &mut decided);
    stream.finish(&mut decided);
    let mut offset = 0;
    let mut spans = Vec::new();
    for run in decided {
        // The labels tell numbers, not what follows them in a track.
        let numbers = run.finds.iter().filter(|find| !matches!(find.kind, FindKind::TrackTail));
        spans.extend(numbers.map(|find| (offset + find.span.start, offset + find.span.end)));
        offset += run.bytes.len();
    }
    Ok(spans)
}
