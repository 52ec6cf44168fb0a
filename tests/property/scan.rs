//! What the scanner owes for every body and every way of cutting it.

use std::sync::Arc;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use tillgate::card::{OPAQUE_RANDOM, Token};
use tillgate::scan::{Carrier, Decided, FieldRules, FindKind, Rules, Stream};

/// Published test numbers of several brands and lengths.
const CARDS: [&str; 8] = [
    "4111111111111111",
    "5555555555554444",
    "378282246310005",
    "6011000990139424",
    "30569309025904",
    "4222222222222",
    "2223003122003222",
    "6304000000000000",
];

/// A card number as some body writes it.
fn written() -> impl Strategy<Value = String> {
    let gaps = [
        "", " ", "-", ".", "+", "%20", "%2D", "&nbsp;", "&#160;", r"\u00a0", "\u{a0}", " - ",
        "</b><b>",
    ];
    (select(&CARDS[..]), select(gaps.to_vec()), 0..8_usize).prop_map(|(digits, gap, form)| {
        let write = |(place, digit): (usize, char)| {
            let digit = match (form, place % 3) {
                (1, 0) => format!("%3{digit}"),
                (2, 1) => format!(r"\u003{digit}"),
                (3, 2) => format!("&#{};", u32::from(digit)),
                (4, _) => char::from_u32(u32::from(digit) - 0x30 + 0xFF10).into_iter().collect(),
                (5, _) => char::from_u32(u32::from(digit) - 0x30 + 0x660).into_iter().collect(),
                _ => digit.to_string(),
            };
            if place > 0 && place % 4 == 0 { format!("{gap}{digit}") } else { digit }
        };
        digits.chars().enumerate().map(write).collect()
    })
}

fn encoded() -> impl Strategy<Value = String> {
    use base64::Engine;
    let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    (select(&CARDS[..]), "[a-z]{0,3}")
        .prop_map(move |(digits, pad)| encode(&format!(r#"{{"{pad}":"{digits}","b":1}}"#)))
}

fn fragment() -> impl Strategy<Value = String> {
    let words = [
        "{\"card\":\"",
        "\"}",
        "pan=",
        "&cvv=123&",
        "cvv\":\"",
        "<td>",
        "</td>",
        "<span class=\"n\">",
        "</span>",
        "order_id=",
        "\"ean\":",
        "card number ",
        "\n",
        "\r\n\r\n",
        ",",
        ";",
        " ",
        "%",
        "\\",
        "&",
        "&#",
        "\\u00",
        "<",
        "=",
        ".",
        "-",
        "3.",
        "%B",
        "^DOE/J^2512101000000?",
        "=25121010000?",
        "12",
        "0329",
        "123 4567 ",
        "5A08",
        "9F26",
        "IT60",
        "é",
        "５",
        "\u{200b}",
        "\u{0}",
        "tok_",
        "tok_1NnZ2LHMNvFVnyEbhDyXYZ",
        "s:16:\"",
    ];
    prop_oneof![
        4 => written(),
        1 => encoded(),
        1 => any::<[u8; OPAQUE_RANDOM]>().prop_map(|random| Token::opaque(&random).to_string()),
        6 => select(words.to_vec()).prop_map(str::to_owned),
        2 => "[0-9]{1,20}",
        1 => "[ -~]{0,40}",
        1 => " {0,3}x{120,140}",
    ]
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    vec(fragment(), 0..24).prop_map(|fragments| fragments.concat().into_bytes())
}

fn rules(kind: usize) -> Rules {
    let fields = || FieldRules { card: vec!["pan".to_owned()], ..FieldRules::default() };
    match kind {
        0 => Rules::responses(FieldRules::default()),
        1 => Rules::responses(fields()),
        2 => Rules::requests(fields()),
        3 => Rules::gateway(fields()),
        _ => Rules::requests(FieldRules::default()).strict(),
    }
}

fn scan<'a>(kind: usize, carrier: Carrier, pieces: impl Iterator<Item = &'a [u8]>) -> Vec<Decided> {
    let mut stream = Stream::new(Arc::new(rules(kind)), carrier);
    let mut decided = Vec::new();
    pieces.for_each(|piece| stream.push(Bytes::copy_from_slice(piece), &mut decided));
    stream.finish(&mut decided);
    decided
}

/// Where something is found and what, counted from the beginning of the body.
fn spans(decided: &[Decided]) -> Vec<(usize, usize, String, String)> {
    let mut offset = 0;
    let mut spans = Vec::new();
    for run in decided {
        for find in &run.finds {
            let kind = match &find.kind {
                FindKind::Card { pan, brand } => format!("{brand} {}", pan.masked()),
                FindKind::Cvv(_) => "cvv".to_owned(),
                FindKind::InvalidCard { .. } => "invalid".to_owned(),
                FindKind::Token(token) => token.to_string(),
                FindKind::Track { pan, .. } => format!("track {}", pan.masked()),
                FindKind::TrackTail => "track tail".to_owned(),
            };
            spans.push((
                offset + find.span.start,
                offset + find.span.end,
                kind,
                find.field.clone(),
            ));
        }
        offset += run.bytes.len();
    }
    spans
}

fn edited(decided: &[Decided], edit: impl Fn(&tillgate::scan::Find, &mut [u8])) -> Vec<u8> {
    let mut body = Vec::new();
    for run in decided {
        let mut bytes = run.bytes.to_vec();
        run.finds.iter().for_each(|find| edit(find, &mut bytes));
        body.extend_from_slice(&bytes);
    }
    body
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn cutting_never_changes_what_is_found(
        body in body(), kind in 0..5_usize, carrier in select(&Carrier::ALL[..]), cuts in vec(1..200_usize, 1..6),
    ) {
        let whole = spans(&scan(kind, carrier, std::iter::once(body.as_slice())));
        prop_assert_eq!(&spans(&scan(kind, carrier, body.chunks(1))), &whole);
        let mut rest = body.as_slice();
        let mut sizes = cuts.iter().cycle();
        let pieces = std::iter::from_fn(move || {
            let (piece, tail) = rest.split_at((*sizes.next()?).min(rest.len()));
            rest = tail;
            (!piece.is_empty()).then_some(piece)
        });
        prop_assert_eq!(&spans(&scan(kind, carrier, pieces)), &whole);
    }

    #[test]
    fn masking_leaves_no_number_and_touches_nothing_else(
        body in body(), kind in 0..5_usize, carrier in select(&Carrier::ALL[..]),
    ) {
        let decided = scan(kind, carrier, body.chunks(64));
        let masked = edited(&decided, |find, run| find.mask(run));
        prop_assert_eq!(masked.len(), body.len());
        let mut outside = 0;
        for (start, end, ..) in spans(&decided) {
            prop_assert_eq!(&masked[outside..start], &body[outside..start]);
            outside = end;
        }
        prop_assert_eq!(&masked[outside..], &body[outside..]);
        // Two numbers that share digits cannot both be masked whole; any other must be gone.
        let first = spans(&decided);
        for (start, end, kind, _) in spans(&scan(kind, carrier, std::iter::once(masked.as_slice()))) {
            let shares = first.iter().any(|found| found.0 < end && start < found.1);
            prop_assert!(shares || kind == "invalid", "{kind} in {:?}", String::from_utf8_lossy(&masked));
        }
    }

    #[test]
    fn digits_can_be_written_over_and_back(
        body in body(), kind in 0..5_usize, carrier in select(&Carrier::ALL[..]),
    ) {
        let decided = scan(kind, carrier, std::iter::once(body.as_slice()));
        for run in &decided {
            for find in &run.finds {
                let pan = match &find.kind {
                    FindKind::Card { pan, .. } | FindKind::Track { pan, .. } => pan.expose().to_vec(),
                    FindKind::Cvv(code) => code.expose().to_vec(),
                    FindKind::InvalidCard { .. } | FindKind::Token(_) | FindKind::TrackTail => {
                        continue;
                    }
                };
                let mut bytes = run.bytes.to_vec();
                let nines: Vec<u8> = pan.iter().map(|digit| b'0' + (b'9' - digit)).collect();
                find.write_digits(&mut bytes, &nines);
                prop_assert_ne!(&bytes[..], &run.bytes[..]);
                find.write_digits(&mut bytes, &pan);
                prop_assert_eq!(&bytes[..], &run.bytes[..]);
            }
        }
    }

    #[test]
    fn any_bytes_come_out_as_they_went_in(
        body in vec(any::<u8>(), 0..3000), kind in 0..5_usize, carrier in select(&Carrier::ALL[..]), cut in 1..900_usize,
    ) {
        let decided = scan(kind, carrier, body.chunks(cut));
        prop_assert_eq!(edited(&decided, |_, _| {}), body);
    }
}

/// What a body becomes when all that is found in its pieces is masked.
fn masked<'a>(carrier: Carrier, pieces: impl Iterator<Item = &'a [u8]>) -> String {
    let edited = edited(&scan(0, carrier, pieces), |find, run| find.mask(run));
    String::from_utf8(edited).unwrap()
}

#[test]
fn a_number_as_far_from_the_beginning_as_is_remembered_is_written_as_anywhere_else() {
    let head = format!("[\"a\"{}", " ".repeat(1024));
    let body = format!("{head}4111111111111111]");
    let whole = masked(Carrier::Json, std::iter::once(body.as_bytes()));
    let (head, rest) = body.split_at(head.len());
    assert_eq!(masked(Carrier::Json, [head.as_bytes(), rest.as_bytes()].into_iter()), whole);
}

#[test]
fn a_negative_number_stays_a_number() {
    let body = b"{\"card_number\":-4111111111111111}";
    let masked = masked(Carrier::Json, std::iter::once(&body[..]));
    assert!(serde_json::from_str::<serde_json::Value>(&masked).is_ok(), "{masked}");
}

#[test]
fn a_long_name_of_a_column_is_told_in_part() {
    let body = format!("{}card number,b\n4111111111111111,1\n", "é".repeat(200));
    for run in scan(3, Carrier::Csv, std::iter::once(body.as_bytes())) {
        assert!(run.finds.iter().all(|find| find.field.len() <= 64));
    }
}
