//! What the scanner owes: helpers for every room's tests, and how a body passes.

use std::sync::Arc;

use bytes::Bytes;

use super::{Carrier, Decided, FieldRules, Find, Rules, Stream, find_all};

mod finding;
mod masking;

fn scan(rules: Rules, carrier: Carrier, body: &str, chunk: usize) -> Vec<Decided> {
    let mut stream = Stream::new(Arc::new(rules), carrier);
    let mut decided = Vec::new();
    for piece in body.as_bytes().chunks(chunk.max(1)) {
        stream.push(Bytes::copy_from_slice(piece), &mut decided);
    }
    stream.finish(&mut decided);
    decided
}

pub(super) fn finds(rules: Rules, carrier: Carrier, body: &str) -> Vec<Find> {
    scan(rules, carrier, body, 64).into_iter().flat_map(|run| run.finds).collect()
}

/// The body with every find masked; cut in every way, it must be the same.
pub(super) fn masked(rules: fn() -> Rules, carrier: Carrier, body: &str) -> String {
    let mask = |chunk| {
        let mut text = Vec::new();
        for decided in scan(rules(), carrier, body, chunk) {
            let mut run = decided.bytes.to_vec();
            decided.finds.iter().for_each(|find| find.mask(&mut run));
            text.extend_from_slice(&run);
        }
        String::from_utf8_lossy(&text).into_owned()
    };
    let whole = mask(body.len());
    for chunk in [1, 2, 3, 5, 17] {
        assert_eq!(mask(chunk), whole, "cut into {chunk}: {body}");
    }
    whole
}

pub(super) fn response() -> Rules {
    Rules::responses(FieldRules::default())
}

fn request() -> Rules {
    Rules::requests(FieldRules::default())
}

fn named() -> Rules {
    let list = |name: &str| vec![name.to_owned()];
    Rules::requests(FieldRules {
        card: list("payment_no"),
        cvv: list("pruefziffer"),
        ignored: list("skip"),
    })
}

#[test]
fn a_whole_text_is_searched_at_once() {
    let text = Bytes::from("a 4111 1111 1111 1111 b 5555555555554444");
    let finds = find_all(&Arc::new(response()), Carrier::Text, &text);
    let spans: Vec<_> = finds.iter().map(|find| find.span.clone()).collect();
    assert_eq!(spans, [2..21, 24..40]);
}

#[test]
fn a_body_without_cards_is_handed_on_as_the_buffer_it_came_in() {
    let body = Bytes::from("<p>no numbers here, only 12 words</p>".repeat(400));
    let mut stream = Stream::new(Arc::new(response()), Carrier::Html);
    let mut decided = Vec::new();
    stream.push(body.clone(), &mut decided);
    stream.finish(&mut decided);
    assert_eq!(decided.len(), 1);
    assert_eq!(decided[0].bytes.as_ptr(), body.as_ptr());
}

#[test]
fn what_cannot_go_on_is_not_held_back() {
    let events = [
        "data: {\"price\": 12}\n\n",
        "data: 4111 1111 1111 1111\n\n",
        "data: 5&nbsp;€ or 10%</span> of 7 €\n\n",
        "data: {\"pan\":\"4111111111111111\"}\n\n",
        "id: 17\ndata: a=b;c=d&e=%34\n\n",
    ];
    let mut stream = Stream::new(Arc::new(response()), Carrier::EventStream);
    for event in events {
        let mut decided = Vec::new();
        stream.push(Bytes::from(event), &mut decided);
        let passed: usize = decided.iter().map(|run| run.bytes.len()).sum();
        assert_eq!(passed, event.len(), "{event}");
    }
}

#[test]
fn little_is_held_back_of_anything() {
    for text in
        ["1", "1 ", "4111-", "<b>4</b>", "%34", "&#52;", "MTExMTExMTEx", "5A08", "\u{200b}1"]
    {
        let mut stream = Stream::new(Arc::new(request()), Carrier::Html);
        let mut decided = Vec::new();
        let body = text.repeat(100_000 / text.len());
        stream.push(Bytes::from(body.clone()), &mut decided);
        let passed: usize = decided.iter().map(|run| run.bytes.len()).sum();
        assert!(body.len() - passed <= 1024, "{text}: {} held", body.len() - passed);
    }
}
