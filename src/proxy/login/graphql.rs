//! Logins in GraphQL: any number of them in one request, by aliases, by several operations or by a
//! list of requests, with names and passwords in the text or beside it.
//!
//! What belongs to which is not worked out where a request holds several: every password found is a
//! guess at every name found, which costs nobody who logs in once.

mod answer;
mod document;
mod lex;

use zeroize::Zeroizing;

pub(super) use self::answer::outcome;
use self::document::{Document, Field, Value};
use super::account::{Found, Wanted};
use super::fields::{self, Reading};
use super::guess::{GUESSES_MAX, Guess};
use crate::policy::{FieldPath, squeeze};

/// What the names of the usual login mutations contain, squeezed: Magento `generateCustomerToken`,
/// Saleor `tokenCreate`, Shopify `customerAccessTokenCreate`, Vendure and `WPGraphQL` `login`, django
/// `tokenAuth`, commercetools `customerSignMeIn`.
const MUTATIONS: [&str; 16] = [
    "accesstokencreate",
    "authenticate",
    "createsession",
    "createtoken",
    "customertoken",
    "issuetoken",
    "login",
    "logon",
    "obtaintoken",
    "obtainjsonwebtoken",
    "sessioncreate",
    "signin",
    "signmein",
    "signinwith",
    "tokenauth",
    "tokencreate",
];

/// The most fields and values that are looked at; a request that needs more is refused, so that none
/// buys much work with few bytes.
const LOOKS_MAX: usize = 4096;

/// What a field costs beside its values.
const LOOKS_PER_FIELD: usize = 32;

/// What a request asks of a GraphQL server.
#[derive(Default)]
pub(super) struct Asked {
    texts: Vec<String>,
    /// Names of operations.
    operations: Vec<String>,
    variables: Vec<(Vec<String>, Zeroizing<String>)>,
}

/// What it tries.
#[derive(Default)]
pub(super) struct Tried {
    /// One more than allowed is kept, to be seen.
    pub(super) guesses: Vec<Guess>,
    /// What the answers stand under, where the text says so.
    pub(super) fields: Vec<String>,
    /// Whether the client chose names in the answer.
    pub(super) renamed: bool,
    looks: usize,
}

impl Asked {
    /// Reads a body and a query string.
    pub(super) fn read(
        content_types: &[&[u8]],
        query: Option<&str>,
        body: &[u8],
    ) -> (Self, Reading) {
        let mut asked = Self::default();
        if let Some(query) = query {
            fields::form(query.as_bytes(), &mut |path, value| asked.see(path, value));
        }
        let named = |kind: &&[u8]| memchr::memmem::find(kind, b"graphql").is_some();
        // `application/graphql` is the text alone.
        if content_types.iter().any(named) {
            asked.texts.push(String::from_utf8_lossy(body).into_owned());
        }
        let reading = fields::each(content_types, body, &mut |path, value| asked.see(path, value));
        (asked, reading)
    }

    /// Whether it says what to do.
    pub(super) fn has_text(&self) -> bool {
        !self.texts.is_empty()
    }

    /// What of it are logins: mutations of this name, or of a usual one that take a password.
    pub(super) fn tried(&self, wanted: Option<&str>, account: Option<&FieldPath>) -> Tried {
        let mut tried = Tried::default();
        for text in &self.texts {
            let document = Document::read(text);
            let mut operations = self.operations.iter().chain(&document.operations);
            let named = wanted.is_some_and(|name| operations.any(|known| known == name));
            for field in &document.fields {
                let meant = wanted.map_or_else(|| is_usual(&field.name), |name| field.name == name);
                if !(meant || named) || tried.is_too_much() {
                    continue;
                }
                let found = self.found(field, &document, account, &mut tried.looks);
                if found.password || (meant && wanted.is_some()) {
                    tried.add(found, &field.name);
                    tried.renamed |= document.renames;
                }
            }
        }
        // A server may know the text by its hash: then only the variables show what it does.
        if self.texts.is_empty() {
            let found = self.all(account);
            if found.password {
                tried.add(found, "");
            }
        }
        tried
    }

    fn see(&mut self, path: &[String], value: &str) {
        let is = |part: &String, name: &str| part.eq_ignore_ascii_case(name);
        if let Some(at) = path.iter().position(|part| is(part, "variables")) {
            let inside = path.get(at.saturating_add(1)..).unwrap_or_default();
            if inside.iter().all(String::is_empty) {
                // In a form they are a text of their own.
                fields::json(value, &mut |path, value| self.variable(path, value));
            } else {
                self.variable(inside, value);
            }
            return;
        }
        match path.iter().rev().find(|part| !part.is_empty()) {
            Some(last) if is(last, "query") || is(last, "mutation") => {
                self.texts.push(value.to_owned());
            }
            Some(last) if is(last, "operationName") => self.operations.push(value.to_owned()),
            // The multipart form of requests with files; it holds no second one.
            Some(last) if is(last, "operations") && value.trim_start().starts_with(['{', '[']) => {
                fields::json(value, &mut |path, value| {
                    if !path.iter().any(|part| is(part, "operations")) {
                        self.see(path, value);
                    }
                });
            }
            Some(_) | None => {}
        }
    }

    fn variable(&mut self, path: &[String], value: &str) {
        self.variables.push((path.to_vec(), Zeroizing::new(value.to_owned())));
    }

    /// What a field's arguments tell, with the variables put in.
    fn found<'r>(
        &self,
        field: &Field,
        document: &Document,
        account: Option<&'r FieldPath>,
        looks: &mut usize,
    ) -> Found<'r> {
        let mut found = Found::new(account.map_or(Wanted::Usual, Wanted::Field));
        *looks = looks.saturating_add(LOOKS_PER_FIELD);
        for argument in &field.arguments {
            *looks = looks.saturating_add(1);
            if *looks > LOOKS_MAX {
                break;
            }
            match &argument.value {
                Value::Literal(text) => found.see(&argument.path, text),
                Value::Variable(name) => {
                    let defaults = document.defaults.iter().filter_map(|default| {
                        let Value::Literal(value) = &default.value else { return None };
                        Some((&default.path, value))
                    });
                    let given = self.variables.iter().map(|(path, value)| (path, &**value));
                    for (path, value) in given.chain(defaults) {
                        *looks = looks.saturating_add(1);
                        let Some((first, inside)) = path.split_first() else { continue };
                        if first == name {
                            found.see(&[&argument.path, inside].concat(), value);
                        }
                    }
                }
            }
        }
        found
    }

    fn all<'r>(&self, account: Option<&'r FieldPath>) -> Found<'r> {
        let mut found = Found::new(account.map_or(Wanted::Usual, Wanted::Field));
        for (path, value) in &self.variables {
            found.see(path, value);
        }
        found
    }
}

impl Tried {
    fn add(&mut self, found: Found<'_>, field: &str) {
        self.fields.push(field.to_owned());
        let (account, passwords) = found.account_and_passwords();
        let passwords = if passwords.is_empty() { vec![Zeroizing::default()] } else { passwords };
        for password in passwords {
            Guess::add(&mut self.guesses, Some(Guess::new(account.clone(), password)));
        }
    }

    /// Whether it holds more than any honest request.
    pub(super) fn is_too_much(&self) -> bool {
        self.guesses.len() > GUESSES_MAX || self.looks > LOOKS_MAX
    }
}

fn is_usual(field: &str) -> bool {
    let name = squeeze(field);
    MUTATIONS.iter().any(|mutation| name.contains(mutation))
}
