//! How fast bodies are scanned and rewritten, beside a plain byte search, the `regex` crate and,
//! where it is installed, Vectorscan.
//!
//! `cargo bench --bench scan`. One core, medians of several rounds, GB/s, and the scan in parts of
//! the byte search; the last rows are microseconds per 16 KiB body, scanned, masked and handed on.

#![expect(clippy::as_conversions, reason = "figures for people: precision does not matter")]

#[path = "scan/vectorscan.rs"]
mod vectorscan;

use std::hint::black_box;
use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use tillgate::scan::{Carrier, Decided, FieldRules, Rules, Stream};

/// Bytes of each text; larger than the caches near a core.
const TEXT: usize = 16 << 20;
/// Bytes that a connection reads at once.
const PIECE: usize = 64 << 10;
const ROUNDS: usize = 7;

fn main() {
    let mut out = std::io::stdout().lock();
    let card = regex::bytes::Regex::new(r"\b(?:\d[ -]?){12,18}\d\b").expect("a valid pattern");
    let vectorscan = vectorscan::Vectorscan::load();
    let [search, part, peer] = ["search", "of search", "vectorscan"];
    let _ = writeln!(
        out,
        "{:<22}{search:>10}{:>10}{part:>10}{:>10}{peer:>12}",
        "GB/s", "scan", "regex"
    );
    for (name, rules, carrier, text) in texts() {
        let search = rate(&text, |text| {
            black_box(memchr::memchr(0x07, text));
        });
        let scan = rate(&text, |text| {
            black_box(scan(rules, carrier, text));
        });
        let regex = rate(&text.slice(..TEXT / 8), |text| {
            black_box(card.find_iter(text).count());
        });
        let part = scan / search * 100.0;
        let _ = write!(out, "{name:<22}{search:>10.2}{scan:>10.2}{part:>8.0} %{regex:>10.2}");
        let _ = match &vectorscan {
            Some(peer) => {
                let peer = rate(&text, |text| {
                    black_box(peer.count(text));
                });
                writeln!(out, "{peer:>12.2}")
            }
            None => writeln!(out, "{:>12}", "-"),
        };
    }
    for (name, carrier, body) in bodies() {
        let seconds = median(|| {
            // Each body is in a buffer of its own, as one from a socket is.
            let arrived: Vec<Bytes> = (0..20).map(|_| Bytes::copy_from_slice(&body)).collect();
            let began = Instant::now();
            for body in arrived {
                black_box(rewrite(carrier, body));
            }
            began.elapsed().as_secs_f64() / 20.0
        });
        let _ = writeln!(out, "{name:<22}{:>10.2}  us per {} bytes", seconds * 1e6, body.len());
    }
}

/// GB/s of one pass over `text`.
fn rate(text: &Bytes, mut pass: impl FnMut(&Bytes)) -> f64 {
    let seconds = median(|| {
        let began = Instant::now();
        pass(text);
        began.elapsed().as_secs_f64()
    });
    text.len() as f64 / seconds / 1e9
}

fn median(mut round: impl FnMut() -> f64) -> f64 {
    let mut times: Vec<f64> = (0..ROUNDS).map(|_| round()).collect();
    times.sort_by(f64::total_cmp);
    times[ROUNDS / 2]
}

/// Whose rules apply: those of requests look for verification codes too.
type Direction = fn(FieldRules) -> Rules;

fn scan(rules: Direction, carrier: Carrier, text: &Bytes) -> usize {
    let mut stream = Stream::new(Arc::new(rules(FieldRules::default())), carrier);
    let mut decided: Vec<Decided> = Vec::new();
    let mut found = 0;
    for start in (0..text.len()).step_by(PIECE) {
        stream.push(text.slice(start..text.len().min(start + PIECE)), &mut decided);
        found += decided.drain(..).map(|run| run.finds.len()).sum::<usize>();
    }
    stream.finish(&mut decided);
    found + decided.iter().map(|run| run.finds.len()).sum::<usize>()
}

/// As the proxy's editor does it: where the buffer is no one else's, masks are written into it.
fn rewrite(carrier: Carrier, body: Bytes) -> usize {
    let mut stream = Stream::new(Arc::new(Rules::responses(FieldRules::default())), carrier);
    let mut decided = Vec::new();
    stream.push(body, &mut decided);
    stream.finish(&mut decided);
    let mut length = 0;
    for run in decided {
        length += run.bytes.len();
        if !run.finds.is_empty() {
            let bytes = run.bytes.try_into_mut();
            let mut bytes = bytes.unwrap_or_else(|shared| BytesMut::from(shared.as_ref()));
            run.finds.iter().for_each(|find| find.mask(&mut bytes));
            black_box(&bytes);
        }
    }
    length
}

fn texts() -> Vec<(&'static str, Direction, Carrier, Bytes)> {
    let mut random = Random(0x2545_F491_4F6C_DD1D);
    let mut fill = |name, rules, carrier, piece: fn(&mut Random) -> String| {
        let mut text = String::with_capacity(TEXT + 1024);
        while text.len() < TEXT {
            text.push_str(&piece(&mut random));
        }
        (name, rules, carrier, Bytes::from(text).slice(..TEXT))
    };
    let (answer, request): (Direction, Direction) = (Rules::responses, Rules::requests);
    vec![
        fill("HTML", answer, Carrier::Html, html),
        fill("HTML full of numbers", answer, Carrier::Html, product),
        fill("JSON catalogue", answer, Carrier::Json, catalogue),
        fill("JSON in a request", request, Carrier::Json, catalogue),
        fill("numbers alone", answer, Carrier::Text, |random| format!("{} ", random.digits(16))),
        fill("one run of digits", answer, Carrier::Text, |random| random.digits(64)),
    ]
}

fn bodies() -> Vec<(&'static str, Carrier, Bytes)> {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let mut fill = |piece: fn(&mut Random) -> String, card: &str| {
        let mut text = String::new();
        while text.len() < 8 << 10 {
            text.push_str(&piece(&mut random));
        }
        text.push_str(card);
        while text.len() < 16 << 10 {
            text.push_str(&piece(&mut random));
        }
        Bytes::from(text).slice(..16 << 10)
    };
    vec![
        ("HTML, no card", Carrier::Html, fill(html, "")),
        ("HTML, one card", Carrier::Html, fill(html, "<td>4111 1111 1111 1111</td>")),
        ("JSON, no card", Carrier::Json, fill(catalogue, "")),
        ("JSON, one card", Carrier::Json, fill(catalogue, r#"{"card":4111111111111111},"#)),
    ]
}

fn html(random: &mut Random) -> String {
    let words = ["basket", "delivery", "returns", "our favourite", "made to last", "new"];
    let word = words[random.below(words.len())];
    format!(
        "<li class=\"product-card\"><a href=\"/shop/{word}/item\"><img src=\"/media/{word}.webp\" \
         alt=\"A picture of the {word}\" loading=\"lazy\"></a><h3>The {word} collection</h3>\
         <p class=\"description\">Carefully chosen, gently washed, and sent to you in a box that \
         can be used again. Read more about how the {word} is made.</p>\
         <span class=\"price\">{}.{}</span></li>\n",
        random.digits(2),
        random.digits(2)
    )
}

/// A row of a shop's list: a digit before a tag and one before an entity in every line.
fn product(random: &mut Random) -> String {
    let number = random.below(1000);
    format!(
        "<li id=\"p{number}\"><a href=\"/tea/{number}?ref=list\"><img src=\"/img/tea-{number}-320x240.jpg\" \
         alt=\"\"> Tea no. {number}</a> <span class=\"price\">{}.90 &euro;</span> <small>{} g, in stock</small></li>\n",
        4 + number % 37,
        50 * (1 + number % 5)
    )
}

fn catalogue(random: &mut Random) -> String {
    format!(
        "{{\"sku\":\"SH-{}\",\"ean\":\"{}\",\"name\":\"A picture of the collection\",\"price\":{}.{},\
         \"currency\":\"EUR\",\"stock\":{},\"image\":\"/media/collection.webp\",\"tags\":[\"new\"]}},\n",
        random.digits(5),
        random.digits(13),
        random.digits(2),
        random.digits(2),
        random.digits(3)
    )
}

/// A small generator: the same texts in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, count: usize) -> usize {
        usize::try_from(self.next() % count as u64).unwrap_or(0)
    }

    fn digits(&mut self, count: usize) -> String {
        (0..count).map(|_| char::from(b'0' + (self.next() % 10) as u8)).collect()
    }
}
