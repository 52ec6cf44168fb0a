//! What the names of fields say about their values.

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
const CARD: [&str; 46] = [
    "acct",
    "amex",
    "cardholder",
    "cardnr",
    "cardnum",
    "cardnumb",
    "cardnumber",
    "cardno",
    "card",
    "cards",
    "carta",
    "carte",
    "cartao",
    "cc",
    "ccn",
    "ccnr",
    "ccno",
    "ccnum",
    "ccnumb",
    "ccnumber",
    "creditcard",
    "debit",
    "debitcard",
    "dpan",
    "fpan",
    "kaart",
    "kart",
    "karta",
    "karte",
    "kort",
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
const CODE: [&str; 22] = [
    "cardcode",
    "cardsecuritycode",
    "cardverificationcode",
    "cardverificationnumber",
    "cardverificationvalue",
    "cav2",
    "ccv",
    "ccid",
    "cid",
    "csc",
    "cvc",
    "cvc2",
    "cvd",
    "cve",
    "cvn",
    "cvn2",
    "cvv",
    "cvv2",
    "cvvcode",
    "cvvnumber",
    "securitycode",
    "verificationvalue",
];

/// Words that make a name that of some other number.
const OTHER: [&str; 66] = [
    "aweme",
    "barcode",
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
    "license",
    "licence",
    "lng",
    "longitude",
    "lon",
    "meid",
    "meter",
    "mobile",
    "msisdn",
    "nonce",
    "offset",
    "order",
    "orderno",
    "orderref",
    "phone",
    "product",
    "revision",
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
    "version",
    "vin",
];

/// Words of prose that name the number right after them as something else.
const OTHER_PROSE: [&str; 14] = [
    "barcode", "ean", "gtin", "iccid", "imei", "imsi", "isbn", "issn", "meid", "serial", "sku",
    "sscc", "tracking", "upc",
];

/// The most words of a name that count, from its end.
const WORDS_MAX: usize = 8;

/// What a name says by itself.
pub(super) fn sense(name: &str) -> Sense {
    let words = words(name);
    if (1..=words.len().min(4)).any(|count| contains(&CODE, &last_words(&words, count))) {
        return Sense::Code;
    }
    if words.iter().any(|word| is_card_word(word.as_bytes())) || joined_card(&words) {
        return Sense::Card;
    }
    let identifies =
        words.last().is_some_and(|word| word == "id") || words.len() == 1 && is_id(name);
    if identifies || words.iter().any(|word| contains(&OTHER, word)) {
        return Sense::Other;
    }
    if name.eq_ignore_ascii_case("google_ad_client") {
        return Sense::Other;
    }
    Sense::Unknown
}

/// Whether one lower-case word names a card.
pub(super) fn is_card_word(word: &[u8]) -> bool {
    let Ok(word) = std::str::from_utf8(word) else { return false };
    let compound = |part: &str| {
        const NOT: [&str; 9] = [
            "discard",
            "cardinal",
            "cardiff",
            "cardio",
            "wildcard",
            "postcard",
            "scorecard",
            "cardiac",
            "cardboard",
        ];
        word.len() > part.len()
            && (word.starts_with(part) || word.ends_with(part))
            && !NOT.iter().any(|not| word.starts_with(not))
    };
    contains(&CARD, word) || compound("card")
}

/// Whether text before a number speaks of cards.
pub(super) fn speaks_of_cards(text: &[u8]) -> bool {
    let ascii = text.split(|byte| !byte.is_ascii_alphanumeric());
    let mut pieces = ascii.filter(|piece| (2..=40).contains(&piece.len()));
    pieces.any(|piece| {
        let piece = std::str::from_utf8(piece).unwrap_or_default();
        words(piece).iter().any(|word| is_card_word(word.as_bytes()))
            || is_card_word(piece.to_ascii_lowercase().as_bytes())
            || contains(&CODE, &piece.to_ascii_lowercase())
            || piece.eq_ignore_ascii_case("paymentmethod")
    }) || CARD_FOREIGN.iter().any(|word| memchr::memmem::find(text, word.as_bytes()).is_some())
}

/// Whether the last word of prose before a number names it as something else.
pub(super) fn prose_says_other(text: &[u8]) -> bool {
    let trimmed = text.trim_ascii_end();
    let trimmed = trimmed.strip_suffix(b":").or(trimmed.strip_suffix(b"#")).unwrap_or(trimmed);
    let letters = trimmed.iter().rev().take_while(|byte| byte.is_ascii_alphanumeric()).count();
    let word = trimmed.get(trimmed.len() - letters..).unwrap_or_default().to_ascii_lowercase();
    std::str::from_utf8(&word).is_ok_and(|word| contains(&OTHER_PROSE, word))
}

/// The lower-case words of a name: `payment[ccNumber]` has `payment`, `cc` and `number`.
pub(super) fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut previous = ' ';
    for letter in name.chars() {
        let apart = !previous.is_ascii_alphanumeric();
        let hump = previous.is_ascii_lowercase() && letter.is_ascii_uppercase();
        if letter.is_ascii_alphanumeric() {
            if apart || hump {
                words.push(String::new());
            }
            if let Some(word) = words.last_mut() {
                word.push(letter.to_ascii_lowercase());
            }
        }
        previous = letter;
    }
    let skip = words.len().saturating_sub(WORDS_MAX);
    words.split_off(skip)
}

fn joined_card(words: &[String]) -> bool {
    (2..=words.len().min(4)).any(|count| contains(&CARD, &last_words(words, count)))
}

fn last_words(words: &[String], count: usize) -> String {
    words.get(words.len().saturating_sub(count)..).unwrap_or_default().concat()
}

/// `userID`, `orderid`: written together.
fn is_id(name: &str) -> bool {
    name.ends_with("ID") || ["orderid", "itemid", "userid", "productid"].contains(&name)
}

fn contains(list: &[&str], word: &str) -> bool {
    list.contains(&word)
}
