//! Whom a login is for.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// The most different names one attempt may carry; no honest form has as many.
pub(super) const NAMES_MAX: usize = 8;

/// The usual names of the field that names an account, squeezed.
const NAMES: [&str; 30] = [
    "email",
    "emailaddress",
    "useremail",
    "loginemail",
    "customeremail",
    "mail",
    "username",
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
];

/// Names that are as often a button or a section: looked at where no usual name is, or where the
/// value is an address.
const DOUBTFUL_NAMES: [&str; 4] = ["login", "account", "name", "member"];

/// The whole of a password field's name, squeezed, where it does not contain `pass`.
const PASSWORDS: [&str; 9] =
    ["pwd", "psw", "pin", "secret", "kennwort", "motdep", "mdp", "senha", "contrasena"];

/// The account, or accounts, that an attempt names; empty where there is only a password. Has no
/// `Debug`: names are personal and go nowhere but into a keyed hash.
#[derive(Default)]
pub struct Account {
    names: Vec<String>,
}

/// What a body's fields have told so far.
#[derive(Default)]
pub(super) struct Found {
    usual: Vec<String>,
    doubtful: Vec<String>,
    /// A password stands in it.
    pub(super) password: bool,
}

impl Account {
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }
}

impl Found {
    /// Looks at one field.
    pub(super) fn see(&mut self, field: Option<&str>, path: &[String], value: &str) {
        let whole = squeeze(&path.concat());
        let last = squeeze(path.iter().rev().find(|part| !part.is_empty()).map_or("", |part| part));
        self.password |= last.contains("pass") || PASSWORDS.contains(&last.as_str());
        let named = |names: &[&str]| names.iter().any(|name| *name == whole || *name == last);
        match field {
            Some(field) if squeeze(field) == whole => add(&mut self.usual, value),
            Some(_) => {}
            None if named(&NAMES) => add(&mut self.usual, value),
            None if named(&DOUBTFUL_NAMES) && value.contains('@') => add(&mut self.usual, value),
            None if named(&DOUBTFUL_NAMES) => add(&mut self.doubtful, value),
            None => {}
        }
    }

    /// The account that the fields name.
    pub(super) fn account(self) -> Account {
        Account { names: if self.usual.is_empty() { self.doubtful } else { self.usual } }
    }
}

fn add(names: &mut Vec<String>, value: &str) {
    let name = normalise(value);
    // One more than allowed is kept, to be seen and refused.
    if !name.is_empty() && !names.contains(&name) && names.len() <= NAMES_MAX {
        names.push(name);
    }
}

/// A field's name without case and punctuation: `user[email]`, `user.email` and `User_Email` are one,
/// as they are for PHP, which turns dots and spaces into underscores, and for servers that ignore case.
fn squeeze(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// A name as databases compare it: many ignore case, accents, width and blanks around, so that a guesser
/// could else try each account under many spellings (Unicode TR 15, compatibility decomposition).
fn normalise(name: &str) -> String {
    let shown = |c: &char| !is_combining_mark(*c) && !c.is_control() && !is_invisible(*c);
    let lower = name.nfkd().filter(shown).flat_map(char::to_lowercase);
    let decomposed: String = lower.nfkd().filter(shown).collect();
    decomposed.trim().to_owned()
}

fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn spellings_of_one_field_are_one() {
        for name in ["user[email]", "user.email", "User_Email", "user email"] {
            assert_eq!(squeeze(name), "useremail");
        }
    }
}
