use std::sync::Arc;

use super::super::contract;
use super::*;

const TTL: Duration = Duration::from_secs(900);

fn cvv(digits: &[u8]) -> Cvv {
    Cvv::from_digits(digits).unwrap()
}

fn token(digits: &[u8]) -> Token {
    Token::parse(digits).unwrap()
}

fn code(taken: Option<Box<Cvv>>) -> Option<Vec<u8>> {
    taken.map(|code| code.expose().to_vec())
}

#[tokio::test]
async fn the_contract_of_stand_ins_holds_in_memory() {
    contract::holds(Arc::new(MemoryStandIns::new(TTL))).await;
}

#[test]
fn an_expired_code_is_gone_and_wiped_by_a_sweep() {
    let (codes, now) = (MemoryStandIns::new(TTL), Instant::now());
    let stand_in = codes.keep_at(cvv(b"123"), &[], now).ok().unwrap();
    codes.sweep(now + TTL - Duration::from_nanos(1));
    assert_eq!(codes.waiting(), 1);
    codes.sweep(now + TTL);
    assert_eq!(codes.waiting(), 0);
    assert_eq!((codes.take_expired(), codes.take_expired()), (1, 0));
    assert_eq!(code(codes.take_at(&stand_in, &[], now)), None);
}

#[test]
fn a_live_stand_in_is_never_given_again() {
    let (codes, now) = (MemoryStandIns::new(TTL), Instant::now());
    let mut seen = std::collections::HashSet::new();
    // All values but the code itself.
    for _ in 0..999 {
        let stand_in = codes.keep_at(cvv(b"123"), &[], now).ok().unwrap();
        assert!(seen.insert(stand_in.expose().to_vec()));
    }
    assert_eq!(codes.waiting(), 999);
}

#[test]
fn a_flood_takes_the_place_of_its_own_oldest_and_not_of_codes_with_a_card() {
    let (codes, now) = (MemoryStandIns::new(TTL), Instant::now());
    let card = token(b"4000000000001111");
    let bound = codes.keep_at(cvv(b"456"), &[card], now).ok().unwrap();
    let first = codes.keep_at(cvv(b"123"), &[], now).ok().unwrap();
    for _ in 0..998 {
        assert!(codes.keep_at(cvv(b"123"), &[], now).is_ok());
    }
    let last = codes.keep_at(cvv(b"123"), &[], now).ok().unwrap();
    assert_eq!(last.expose(), first.expose(), "the oldest gave way");
    assert_eq!((codes.waiting(), codes.take_expired()), (1000, 1));
    assert_eq!(code(codes.take_at(&bound, &[card], now)), Some(b"456".to_vec()));
}

#[test]
fn the_number_of_codes_is_bounded_and_the_oldest_make_room() {
    let (codes, now) = (MemoryStandIns::new(TTL), Instant::now());
    let card = |n: usize| token(format!("{:016}", n / 500).as_bytes());
    let oldest = codes.keep_at(cvv(b"123"), &[card(0)], now).ok().unwrap();
    let unbound = codes.keep_at(cvv(b"123"), &[], now).ok().unwrap();
    for n in 2..CODES_MAX {
        assert!(codes.keep_at(cvv(b"123"), &[card(n)], now).is_ok());
    }
    assert!(codes.keep_at(cvv(b"123"), &[card(CODES_MAX)], now).is_ok());
    assert_eq!(codes.waiting(), CODES_MAX);
    assert_eq!(code(codes.take_at(&unbound, &[], now)), None, "the first to go");
    assert_eq!(code(codes.take_at(&oldest, &[card(0)], now)), Some(b"123".to_vec()));
    assert!(codes.keep_at(cvv(b"123"), &[card(0)], now + TTL).is_ok());
    assert_eq!(codes.waiting(), 1);
}

#[test]
fn a_code_with_very_many_cards_takes_few_places() {
    let (codes, now) = (MemoryStandIns::new(TTL), Instant::now());
    let cards: Vec<Token> = (0..1000).map(|n| token(format!("{n:016}").as_bytes())).collect();
    assert!(codes.keep_at(cvv(b"123"), &cards, now).is_ok());
    assert_eq!(codes.state.lock().by_key.len(), TOKENS_MAX);
}

#[test]
fn the_queue_of_expiries_does_not_outgrow_what_waits() {
    let (codes, now) = (MemoryStandIns::new(TTL), Instant::now());
    let _waiting = codes.keep_at(cvv(b"123"), &[], now).ok().unwrap();
    for _ in 0..5000 {
        let stand_in = codes.keep_at(cvv(b"123"), &[], now).ok().unwrap();
        assert!(codes.take_at(&stand_in, &[], now).is_some());
    }
    assert!(codes.state.lock().unbound.len() <= 68);
}
