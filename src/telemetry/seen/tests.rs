use std::time::Duration;

use super::*;

fn sighting(field: &str) -> Sighting<'_> {
    Sighting {
        site: "shop.example",
        route: "/pay",
        direction: Direction::Request,
        place: CardPlace::Body,
        datum: CardDatum::Card,
        carrier: Carrier::Json,
        field,
        action: CardAction::Observed,
    }
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn table(folder: &tempfile::TempDir) -> CardsSeen {
    CardsSeen::open(folder.path().join("cards-seen.json"))
}

#[test]
fn what_was_seen_is_merged_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let first = table(&folder);
    first.note(at(100), &sighting("number"));
    first.note(at(160), &sighting("number"));
    first.note(at(170), &sighting("iban[2]"));
    first.save();
    let second = table(&folder);
    second.note(at(200), &sighting("number"));
    second.save();
    let report = CardsSeen::read(&second.path).unwrap();
    let rows: Vec<_> = report.rows.iter().map(|(key, row)| (&*key.field, row.count)).collect();
    assert_eq!(rows, [("iban[#]", 1), ("number", 3)]);
    let row = report.rows.values().last().unwrap();
    assert_eq!((row.first, row.last), (100, 200));
    assert_eq!(row.first_time(), "1970-01-01T00:01:40Z");
}

#[test]
fn codes_are_counted_apart_and_rows_without_a_kind_are_cards() {
    let folder = tempfile::tempdir().unwrap();
    let old = r#"{"beyond":0,"rows":[{"site":"shop.example","route":"/pay","direction":"request",
        "where":"body","field":"number","carrier":"json","action":"observed",
        "count":2,"first":5,"last":6}]}"#;
    std::fs::write(folder.path().join("cards-seen.json"), old).unwrap();
    let seen = table(&folder);
    seen.note(at(7), &sighting("number"));
    seen.note(at(7), &Sighting { datum: CardDatum::Code, ..sighting("number") });
    seen.save();
    let report = CardsSeen::read(&seen.path).unwrap();
    let rows: Vec<_> = report.rows.iter().map(|(key, row)| (&*key.datum, row.count)).collect();
    assert_eq!(rows, [("card", 3), ("code", 1)]);
}

#[test]
fn the_table_has_an_end_and_counts_beyond_it() {
    let folder = tempfile::tempdir().unwrap();
    let seen = table(&folder);
    let letter = |n: usize| char::from(b'a' + u8::try_from(n % 26).unwrap());
    for n in 0..ROWS_MAX + 5 {
        let name: String = [n / 676, n / 26, n].map(letter).iter().collect();
        seen.note(at(1), &sighting(&name));
    }
    seen.note(at(2), &sighting("aaa"));
    let report = seen.state.lock().report.clone();
    assert_eq!((report.rows.len(), report.beyond), (ROWS_MAX, 5));
    assert_eq!(report.rows.values().next().unwrap().count, 2);
}

#[test]
fn a_file_that_is_something_else_is_begun_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cards-seen.json");
    std::fs::write(&path, "no json").unwrap();
    assert!(CardsSeen::read(&path).is_err());
    let seen = CardsSeen::open(path.clone());
    seen.note(at(5), &sighting("number"));
    seen.save();
    assert_eq!(CardsSeen::read(&path).unwrap().rows.len(), 1);
}

#[test]
fn the_audit_log_is_told_so_often_in_a_minute() {
    let folder = tempfile::tempdir().unwrap();
    let seen = table(&folder);
    let told = |from: u64| (0..100).filter(|n| seen.may_tell(at(from + n % 60))).count();
    assert_eq!((told(600), told(660)), (60, 60));
}

#[test]
fn heads_of_requests_are_no_place_for_cards() {
    let mut found = sighting("q");
    assert!(!found.is_unexpected());
    for place in [CardPlace::Cookie, CardPlace::Header, CardPlace::Referrer, CardPlace::Target] {
        found.place = place;
        assert!(found.is_unexpected());
        assert!(!Sighting { direction: Direction::Response, ..found }.is_unexpected());
        assert!(!Sighting { action: CardAction::Kept, ..found }.is_unexpected());
        assert!(!Sighting { datum: CardDatum::Code, ..found }.is_unexpected());
    }
}
