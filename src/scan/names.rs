//! What the names of fields say about their values.

use super::words::{WORDS_LENGTH_MAX, WORDS_MAX, Words};

/// What a field's name says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Sense {
    /// It holds a card number.
    Card,
    /// It holds a verification code.
    Code,
    /// It holds some other number that may look like a card's.
    Other,
    /// Nothing either way.
    Unknown,
}

/// Words that name a card by themselves, and names written as one word.
const CARD: [&str; 52] = [
    "acct",
    "amex",
    "bankcard",
    "bankkarte",
    "card",
    "cardholder",
    "cardno",
    "cardnr",
    "cardnum",
    "cardnumb",
    "cardnumber",
    "cards",
    "carta",
    "cartao",
    "carte",
    "cc",
    "ccn",
    "ccno",
    "ccnr",
    "ccnum",
    "ccnumb",
    "ccnumber",
    "creditcard",
    "debit",
    "debitcard",
    "dpan",
    "fpan",
    "kaart",
    "kaartnummer",
    "kart",
    "karta",
    "karte",
    "kartennr",
    "kartennummer",
    "kort",
    "kortnummer",
    "kreditkarte",
    "maestro",
    "mastercard",
    "pan",
    "panentry",
    "primaryaccountnumber",
    "rupay",
    "savedcard",
    "swipe",
    "tarjeta",
    "tdc",
    "track1",
    "track2",
    "unionpay",
    "visa",
    "xcardnum",
];

/// The same in other scripts, found anywhere in the text before a number.
const CARD_FOREIGN: [&str; 9] =
    ["карт", "カード", "卡号", "卡號", "银行卡", "信用卡", "بطاقة", "کارت", "카드"];

/// Names of verification codes, alone or as the last words of a longer name.
const CODE: [&str; 29] = [
    "cardcode",
    "cardsecuritycode",
    "cardsecuritynumber",
    "cardvalidationcode",
    "cardverificationcode",
    "cardverificationnumber",
    "cardverificationvalue",
    "cav2",
    "ccid",
    "ccv",
    "cid",
    "cryptogramme",
    "csc",
    "cv2",
    "cvc",
    "cvc2",
    "cvd",
    "cve",
    "cvn",
    "cvn2",
    "cvnumber",
    "cvv",
    "cvv2",
    "cvvcode",
    "cvvnumber",
    "kartenpruefnummer",
    "pruefnummer",
    "securitycode",
    "verificationvalue",
];

/// How they end.
const CODE_ENDS: [&[u8; 3]; 18] = [
    b"av2", b"ber", b"ccv", b"cid", b"csc", b"cv2", b"cvc", b"cvd", b"cve", b"cvn", b"cvv", b"lue",
    b"mer", b"mme", b"ode", b"vc2", b"vn2", b"vv2",
];

/// Words that make a name that of some other number.
const OTHER: [&str; 74] = [
    "auftragsnummer",
    "aweme",
    "barcode",
    "bestellnummer",
    "build",
    "checksum",
    "cookie",
    "crc",
    "csrf",
    "date",
    "device",
    "ean",
    "ean13",
    "ean14",
    "epoch",
    "etag",
    "fax",
    "fbclid",
    "fbid",
    "gclid",
    "gtin",
    "gtin13",
    "gtin14",
    "guid",
    "hash",
    "iban",
    "iccid",
    "ids",
    "imei",
    "imsi",
    "invoice",
    "invoiceno",
    "isbn",
    "issn",
    "lat",
    "latitude",
    "licence",
    "license",
    "lng",
    "lon",
    "longitude",
    "meid",
    "meter",
    "mobile",
    "mpn",
    "msisdn",
    "nonce",
    "offset",
    "order",
    "orderno",
    "orderref",
    "phone",
    "pixel",
    "product",
    "rechnungsnummer",
    "revision",
    "sendungsnummer",
    "seq",
    "sequence",
    "serial",
    "serialno",
    "sku",
    "sscc",
    "tel",
    "timestamp",
    "tracking",
    "trackingnumber",
    "uid",
    "upc",
    "uuid",
    "variant",
    "variants",
    "version",
    "vin",
];

/// Words of prose that name the number right after them as something else.
const OTHER_PROSE: [&str; 14] = [
    "barcode", "ean", "gtin", "iccid", "imei", "imsi", "isbn", "issn", "meid", "serial", "sku",
    "sscc", "tracking", "upc",
];

/// The longest of them.
const PROSE_LENGTH_MAX: usize = 8;

/// Whether a name is that of a verification code.
pub(super) fn is_code(name: &str) -> bool {
    ends_as_code(name.as_bytes()) && ends_in_code(&Words::of(name.as_bytes()))
}

/// What a name says by itself.
pub(super) fn sense(name: &str) -> Sense {
    let words = Words::of(name.as_bytes());
    let count = words.count();
    if ends_in_code(&words) {
        return Sense::Code;
    }
    let card = words.iter().any(is_card_word);
    if card || (2..=count.min(4)).any(|last| contains(&CARD, words.last(last))) {
        return Sense::Card;
    }
    let whole = words.last(count);
    let id = words.last(1) == b"id" || count == 1 && is_id(name, whole);
    if id || whole == b"googleadclient" || words.iter().any(|word| contains(&OTHER, word)) {
        return Sense::Other;
    }
    Sense::Unknown
}

fn ends_in_code(words: &Words) -> bool {
    (1..=words.count().min(4)).any(|last| contains(&CODE, words.last(last)))
}

/// Whether the last three letters of a name are those of a code's. One short number in twenty of a
/// JSON catalogue passes; the rest are done with in a tenth of the time that reading words takes.
fn ends_as_code(name: &[u8]) -> bool {
    /// Longer ones may have more than [`WORDS_MAX`] words, of which the last do not count.
    const SURE_LENGTH_MAX: usize = 2 * WORDS_MAX;
    let mut letters = name.iter().rev().filter(|byte| byte.is_ascii_alphanumeric());
    let mut last = || letters.next().map_or(0, u8::to_ascii_lowercase);
    let (third, second, first) = (last(), last(), last());
    // A word of digits alone does not count.
    let number = third.is_ascii_digit() && second.is_ascii_digit();
    number || name.len() > SURE_LENGTH_MAX || CODE_ENDS.contains(&&[first, second, third])
}

/// Whether one lower-case word names a card.
pub(super) fn is_card_word(word: &[u8]) -> bool {
    const NOT: [&[u8]; 9] = [
        b"discard",
        b"cardinal",
        b"cardiff",
        b"cardio",
        b"wildcard",
        b"postcard",
        b"scorecard",
        b"cardiac",
        b"cardboard",
    ];
    let compound = word.starts_with(b"card") || word.ends_with(b"card");
    contains(&CARD, word) || compound && !NOT.iter().any(|not| word.starts_with(not))
}

/// Whether text before a number speaks of cards. Among numbers alone it costs a tenth since numbers
/// are not read as words, nor other scripts looked for where there are none.
pub(super) fn speaks_of_cards(text: &[u8]) -> bool {
    if !text.iter().fold(false, |any, byte| any | byte.is_ascii_alphabetic() | !byte.is_ascii()) {
        return false;
    }
    let pieces = text.split(|byte| !byte.is_ascii_alphanumeric());
    let mut names = pieces.filter(|piece| {
        (2..=WORDS_LENGTH_MAX).contains(&piece.len()) && !piece.iter().all(u8::is_ascii_digit)
    });
    let foreign =
        || CARD_FOREIGN.iter().any(|word| memchr::memmem::find(text, word.as_bytes()).is_some());
    names.any(|name| {
        let words = Words::of(name);
        let whole = words.last(words.count());
        words.iter().any(is_card_word)
            || is_card_word(whole)
            || contains(&CODE, whole)
            || whole == b"paymentmethod"
    }) || !text.is_ascii() && foreign()
}

/// Whether the last word of prose before a number names it as something else.
pub(super) fn prose_says_other(text: &[u8]) -> bool {
    if names_pixel(text) {
        return true;
    }
    let trimmed = text.trim_ascii_end();
    let trimmed = trimmed.strip_suffix(b":").or(trimmed.strip_suffix(b"#")).unwrap_or(trimmed);
    // None of the words ends with a digit, as most of what stands among numbers does.
    if !trimmed.last().is_some_and(u8::is_ascii_alphabetic) {
        return false;
    }
    let letters = trimmed.iter().rev().take(PROSE_LENGTH_MAX + 1);
    let length = letters.take_while(|byte| byte.is_ascii_alphanumeric()).count();
    let word = trimmed.get(trimmed.len() - length..).unwrap_or_default();
    OTHER_PROSE.iter().any(|known| word.eq_ignore_ascii_case(known.as_bytes()))
}

/// Whether the number after `text` is that of an advertiser, of 15 or 16 digits like a card's, which
/// every page of a shop hands to Meta's script: `fbq('init', '…')`.
fn names_pixel(text: &[u8]) -> bool {
    let head = text.strip_suffix(b"'").or(text.strip_suffix(b"\"")).unwrap_or(text);
    let Some(head) = head.trim_ascii_end().strip_suffix(b",") else { return false };
    let calls = [&b"fbq('init'"[..], b"fbq(\"init\"", b"fbq('trackSingle'", b"fbq(\"trackSingle\""];
    calls.iter().any(|call| head.ends_with(call))
}

/// `userID`, `orderid`: written together.
fn is_id(name: &str, whole: &[u8]) -> bool {
    const TOGETHER: [&[u8]; 4] = [b"itemid", b"orderid", b"productid", b"userid"];
    name.ends_with("ID") || TOGETHER.contains(&whole)
}

/// Whether a sorted list has the word.
fn contains(list: &[&str], word: &[u8]) -> bool {
    list.binary_search_by(|known| known.as_bytes().cmp(word)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::{FieldRules, Rules};

    #[test]
    fn fields_of_gateways_and_shops_are_known() {
        for code in ["cvNumber", "CV2", "ns1.cardSecurityNumber", "kartenpruefnummer"] {
            assert!(is_code(code), "{code}");
        }
        for other in ["facebookPixel", "variant", "Bestellnummer", "mpn"] {
            assert_eq!(sense(other), Sense::Other, "{other}");
        }
    }

    #[test]
    fn the_cheap_look_for_codes_misses_no_name() {
        let rules = Rules::requests(FieldRules::default());
        for name in CODE {
            assert!(rules.may_name_code(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn lists_are_sorted() {
        for list in [&CARD[..], &CODE, &OTHER, &OTHER_PROSE] {
            assert!(list.is_sorted());
        }
    }

    #[test]
    fn words_of_prose_are_read_whole() {
        assert!(OTHER_PROSE.iter().all(|word| word.len() <= PROSE_LENGTH_MAX));
        for text in ["the EAN: ", "ean#", "an Iccid ", "(trackinG", "no. isbn"] {
            assert!(prose_says_other(text.as_bytes()), "{text}");
        }
        for text in ["", "ean13 ", "xtracking ", "bean: ", "123 ", "ean #", "ean: x "] {
            assert!(!prose_says_other(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn words_about_cards_are_found_among_numbers() {
        for text in ["4111 17 card 12", "12 卡号 34", "5 visa,", "x track2 9"] {
            assert!(speaks_of_cards(text.as_bytes()), "{text}");
        }
        assert!(!speaks_of_cards("4111111111111111 12 é 0".as_bytes()));
    }

    #[test]
    fn names_of_codes_end_as_listed() {
        for name in CODE {
            assert!(ends_as_code(name.as_bytes()), "{name}");
        }
        assert!(!is_code("stock") && !is_code("number") && !is_code("id") && !is_code(""));
        assert!(
            is_code("1234 CVV") && is_code("card[c_v_v]") && is_code("payment.cardSecurityCode")
        );
    }

    #[test]
    fn names_are_read_by_their_words() {
        let cases = [
            (
                Sense::Card,
                "cardNumber card_number payment[cc_number] PAN X-Card-Number savedcard ACCT",
            ),
            (
                Sense::Code,
                "cvv card[cvc] securityCode card_security_code cvv2 CID verification_value cvv_123",
            ),
            (
                Sense::Other,
                "order_id orderId chrome_id ean trackingNumber userID google_ad_client ean_13",
            ),
            (Sense::Unknown, "number value text discard wildcard identity"),
        ];
        for (expected, names) in cases {
            for name in names.split(' ') {
                assert_eq!(sense(name), expected, "{name}");
            }
        }
    }
}
