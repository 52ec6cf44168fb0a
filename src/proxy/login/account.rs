//! Whom a login is for.

use std::sync::LazyLock;

use regex::bytes::Regex;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use zeroize::Zeroizing;

use super::guess::GUESSES_MAX;
use crate::policy::{FieldPath, squeeze};

/// The most different names one attempt may carry; no honest form has as many.
pub(super) const NAMES_MAX: usize = 8;

/// The usual names of the field that names an account, squeezed.
pub(super) const NAMES: [&str; 41] = [
    "email",
    "emailaddress",
    "useremail",
    "loginemail",
    "customeremail",
    "mail",
    "username",
    "jusername",
    "uname",
    "user",
    "userid",
    "userlogin",
    "useroremail",
    "usernameoremail",
    "emailorusername",
    "loginname",
    "loginid",
    "loginusername",
    "log",
    "accountname",
    "accountid",
    "customerid",
    "customernumber",
    "identifier",
    "identity",
    "memberid",
    "phone",
    "phonenumber",
    "mobile",
    "msisdn",
    "nickname",
    "benutzer",
    "benutzername",
    "gebruikersnaam",
    "kundennr",
    "kundennummer",
    "nomeutente",
    "uid",
    "usuario",
    "utente",
    "utilisateur",
];

/// Names that are as often a button or a section. They count beside a usual name too, or a guesser
/// would add one that the shop ignores; not so where the value is a button's, which every customer
/// sends: counting it would lock them all out together.
const DOUBTFUL_NAMES: [&str; 4] = ["login", "account", "name", "member"];

/// What buttons and flags called `login` say, where it is a single word of plain letters.
const LABELS: [&str; 30] = [
    "0",
    "1",
    "aanmelden",
    "accedi",
    "acceder",
    "anmelden",
    "anmeldung",
    "connect",
    "connexion",
    "continue",
    "einloggen",
    "entrar",
    "enter",
    "go",
    "inloggen",
    "log-in",
    "logga",
    "login",
    "logon",
    "ok",
    "on",
    "send",
    "sign-in",
    "signin",
    "submit",
    "true",
    "weiter",
    "yes",
    "zaloguj",
    "masuk",
];

/// What a password field's name, squeezed, ends in where it does not contain `pass`.
const PASSWORDS: [&str; 23] = [
    "adgangskode",
    "clave",
    "contrasena",
    "contraseña",
    "geslo",
    "haslo",
    "hasło",
    "heslo",
    "jelszo",
    "kennwort",
    "kodeord",
    "losenord",
    "lozinka",
    "lösenord",
    "mdp",
    "motdep",
    "parola",
    "psw",
    "pwd",
    "salasana",
    "senha",
    "sifre",
    "wachtwoord",
];

/// The whole of it, or its end, where the word is too short to be looked for in a text.
const SHORT_PASSWORDS: [&str; 3] = ["pin", "pw", "secret"];

/// The account, or accounts, that an attempt names; empty where there is only a password. Has no
/// `Debug`: names are personal and go nowhere but into a keyed hash.
#[derive(Clone, Default)]
pub struct Account {
    names: Vec<String>,
}

/// Which field names an account.
#[derive(Clone, Copy)]
pub(super) enum Wanted<'r> {
    /// This one.
    Field(&'r FieldPath),
    /// None: nothing is counted by name.
    Nothing,
    /// Any of the usual ones.
    Usual,
}

/// What a body's fields have told so far.
pub(super) struct Found<'r> {
    wanted: Wanted<'r>,
    usual: Vec<String>,
    doubtful: Vec<String>,
    passwords: Vec<Zeroizing<String>>,
    /// A password stands in it.
    pub(super) password: bool,
}

impl Account {
    /// An account as an operator writes it; empty where that names none.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self::of([name])
    }

    /// The account of these names.
    pub(super) fn of<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        let mut account = Self::default();
        names.into_iter().for_each(|name| add(&mut account.names, name));
        account
    }

    /// The names, as they are hashed.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }
}

impl<'r> Found<'r> {
    pub(super) fn new(wanted: Wanted<'r>) -> Self {
        let (usual, doubtful, passwords) = (Vec::new(), Vec::new(), Vec::new());
        Self { wanted, usual, doubtful, passwords, password: false }
    }

    /// Looks at one field.
    pub(super) fn see(&mut self, path: &[String], value: &str) {
        let last = squeeze(path.iter().rev().find(|part| !part.is_empty()).map_or("", |part| part));
        if is_password(&last) {
            self.see_password(value);
        }
        match self.wanted {
            Wanted::Field(field) if field.matches(path) => add(&mut self.usual, value),
            Wanted::Field(_) | Wanted::Nothing => {}
            Wanted::Usual => self.see_usual(&squeeze(&path.concat()), &last, value),
        }
    }

    fn see_password(&mut self, value: &str) {
        self.password = true;
        let known = self.passwords.iter().any(|known| known.as_str() == value);
        if !known && self.passwords.len() <= GUESSES_MAX {
            self.passwords.push(Zeroizing::new(value.to_owned()));
        }
    }

    fn see_usual(&mut self, whole: &str, last: &str, value: &str) {
        let named = |names: &[&str]| names.iter().any(|name| *name == whole || *name == last);
        // `txtEmail`, `login_email_address`: the prefix is each shop's own, the value is an address.
        let address = value.contains('@') && (named(&DOUBTFUL_NAMES) || last.contains("mail"));
        if named(&NAMES) || address || last.ends_with("username") {
            add(&mut self.usual, value);
        } else if named(&DOUBTFUL_NAMES) {
            add(&mut self.doubtful, value);
        }
    }

    /// The account that the fields name, and every password that differs.
    pub(super) fn account_and_passwords(self) -> (Account, Vec<Zeroizing<String>>) {
        let mut names = self.usual;
        let alone = names.is_empty();
        for name in self.doubtful {
            if (alone || !is_label(&name)) && !names.contains(&name) {
                names.push(name);
            }
        }
        (Account { names }, self.passwords)
    }
}

/// Whether a squeezed name is a password field's.
pub(super) fn is_password(squeezed: &str) -> bool {
    squeezed.contains("pass")
        || squeezed.ends_with("pw")
        || SHORT_PASSWORDS.contains(&squeezed)
        || PASSWORDS.iter().any(|word| squeezed.ends_with(word))
}

/// Whether a value is what a button says rather than whom a login is for.
fn is_label(value: &str) -> bool {
    LABELS.contains(&value) || !value.is_ascii() || value.contains(char::is_whitespace)
}

/// Whether a body that cannot be read has a word of a password field in it, in any width.
pub(super) fn hints_at_password(body: &[u8]) -> bool {
    let text: Vec<u8> = body.iter().filter(|b| **b != 0).map(u8::to_ascii_lowercase).collect();
    let words = PASSWORDS.iter().chain(&["pass", "secret"]);
    words.into_iter().any(|word| memchr::memmem::find(&text, word.as_bytes()).is_some())
}

/// Whether a body may have a password field, however it is escaped: a look for requests that mostly
/// have none.
pub(super) fn may_hold_password(body: &[u8]) -> bool {
    #[expect(
        clippy::expect_used,
        reason = "the pattern is made of constants, and tests compile it"
    )]
    static WORDS: LazyLock<Regex> = LazyLock::new(|| {
        let words = [&PASSWORDS[..], &SHORT_PASSWORDS].concat().join("|");
        // A name may hide behind escapes, percents and wide characters.
        Regex::new(&format!(r"(?i-u)pass|{words}|\\u|%|\x00")).expect("the words are plain")
    });
    WORDS.is_match(body)
}

fn add(names: &mut Vec<String>, value: &str) {
    let name = normalise(value);
    // One more than allowed is kept, to be seen and refused.
    if !name.is_empty() && !names.contains(&name) && names.len() <= NAMES_MAX {
        names.push(name);
    }
}

/// A name as databases compare it: many ignore case, accents, width and blanks around, so that a guesser
/// could else try each account under many spellings (Unicode TR 15, compatibility decomposition).
fn normalise(name: &str) -> String {
    let shown = |c: &char| !is_combining_mark(*c) && !c.is_control() && !is_invisible(*c);
    let lower = name.nfkd().filter(shown).flat_map(char::to_lowercase);
    let mut decomposed = String::with_capacity(name.len());
    for c in lower.nfkd().filter(shown) {
        match likeness(c) {
            Some(like) => decomposed.push_str(like),
            None => decomposed.push(c),
        }
    }
    decomposed.trim().to_owned()
}

/// Letters that have no decomposition and yet are the same as others for a database that looks at the
/// first level only, as `utf8mb4_0900_ai_ci` of MySQL 8 does by default (Unicode TR 10, DUCET).
fn likeness(c: char) -> Option<&'static str> {
    Some(match c {
        'ⱥ' => "a",
        'æ' => "ae",
        'ƀ' => "b",
        'ȼ' => "c",
        'đ' | 'ð' => "d",
        'ɇ' => "e",
        'ǥ' => "g",
        'ħ' => "h",
        'ɨ' | 'ı' => "i",
        'ɉ' => "j",
        'ł' | 'ƚ' => "l",
        'ø' => "o",
        'œ' => "oe",
        'ɍ' => "r",
        'ß' | 'ẞ' => "ss",
        'ŧ' | 'ⱦ' => "t",
        'ʉ' => "u",
        'ɏ' => "y",
        'ƶ' => "z",
        _ => return None,
    })
}

fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_that_databases_take_for_one_are_one() {
        for (name, other) in [
            ("łogin@shøp", "login@shop"),
            ("HEĐĦ", "hedh"),
            ("straße", "STRASSE"),
            ("Ægir", "aegir"),
        ] {
            assert_eq!(normalise(name), normalise(other), "{name}");
        }
    }

    #[test]
    fn spellings_of_one_account_are_one() {
        for name in [
            " Ann@Shop.Example\t",
            "ANN@SHOP.EXAMPLE",
            "ánn@shop.example",
            "a\u{301}nn@shop.example",
            "\u{ff41}nn@shop.example",
            "a\u{200b}nn@shop.example",
            "ann@shop.example\0",
        ] {
            assert_eq!(normalise(name), "ann@shop.example", "{name:?}");
        }
        assert_ne!(normalise("ann"), normalise("anna"));
    }
}
