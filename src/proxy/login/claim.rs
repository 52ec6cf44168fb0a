//! What a request tries, once its body has been read: nothing, one attempt, or several.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::account::{Account, Found, Wanted, hints_at_password, may_hold_password};
use super::charset;
use super::fields::{self, Reading};
use super::graphql::Asked;
use super::guess::{GUESSES_MAX, Guess};
use super::recognise::{Candidate, Expected};
use super::xmlrpc;
use crate::policy::{Carrier, GuardKind, GuardRule, LoginLimits};

/// One attempt that a request makes.
pub struct Claim<'p> {
    /// The rule it falls under; `None` is a login that was detected.
    pub rule: Option<&'p Arc<GuardRule>>,
    pub(super) account: Account,
    pub(super) answered: Answered,
    /// The name and the password in the head, which come again with every request.
    pub(super) shown: Option<Guess>,
    /// The password, or passwords, of a form.
    pub(super) secret: Zeroizing<String>,
}

/// How the answer to an attempt is read where no sign is configured, and how far it is believed.
#[derive(Clone, Default)]
pub(super) struct Answered {
    /// Several attempts share it: that one succeeded says nothing of the others.
    pub(super) shared: bool,
    pub(super) manner: Manner,
}

/// The manner of an answer.
#[derive(Clone, Default)]
pub(super) enum Manner {
    /// To `Authorization: Basic`.
    Basic,
    /// As pages and interfaces answer.
    #[default]
    Plain,
    /// As GraphQL answers, under these fields; none where they are not known.
    Graphql {
        /// The login fields.
        fields: Vec<String>,
        /// The client chose names in it, so it proves no success.
        renamed: bool,
    },
}

/// How much of a body is there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Extent {
    /// Its beginning.
    Beginning,
    /// All of it.
    Whole,
}

/// Why what a request tries cannot be told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ClaimError {
    /// It makes more attempts than any honest one.
    TooMany,
    /// Its body may hold an attempt and cannot be read to its end: padding would hide an account.
    Unreadable,
}

impl<'p> Expected<'p> {
    /// What the request tries.
    ///
    /// # Errors
    ///
    /// When that cannot be told, and matters. Paths that other interfaces share (`/api/sessions`)
    /// may be read in part where no password shows.
    pub fn claims<'b>(
        &self,
        content_types: impl IntoIterator<Item = &'b [u8]>,
        body: &[u8],
        extent: Extent,
    ) -> Result<Vec<Claim<'p>>, ClaimError> {
        let content_types: Vec<_> = content_types.into_iter().collect();
        if self.body_bytes_max().is_some() && charset::hides(&content_types, body) {
            return Err(ClaimError::Unreadable);
        }
        let body = Body { content_types: &content_types, bytes: body, extent };
        let mut claims = Vec::new();
        let mut decided = false;
        let by_method = |other: bool| {
            self.candidates.iter().filter(move |candidate| candidate.other_method == other)
        };
        for candidate in by_method(false).chain(by_method(true)) {
            if candidate.is_login() && decided {
                continue;
            }
            // What a rule of the very method has claimed is not counted twice.
            let same = |claim: &Claim<'_>| claim.kind() == candidate.kind();
            if candidate.other_method && claims.iter().any(same) {
                continue;
            }
            let before = claims.len();
            self.claim(*candidate, &body, &mut claims)?;
            // The first login that has no condition is the one; others may come together.
            let unconditional = candidate.rule.is_none_or(|rule| rule.when.is_none());
            decided |= candidate.is_login() && unconditional && claims.len() > before;
        }
        if claims.len() > GUESSES_MAX {
            return Err(ClaimError::TooMany);
        }
        Ok(claims)
    }

    fn claim(
        &self,
        candidate: Candidate<'p>,
        body: &Body<'_>,
        claims: &mut Vec<Claim<'p>>,
    ) -> Result<(), ClaimError> {
        match candidate.carrier {
            Carrier::Basic => claims.extend(self.basic(candidate)),
            Carrier::Fields => claims.extend(self.fields(candidate, body)?),
            Carrier::Graphql(wanted) => {
                claims.extend(self.graphql(candidate, wanted.as_deref(), body)?);
            }
            Carrier::XmlRpc => claims.extend(self.xml_rpc(candidate, body)?),
        }
        Ok(())
    }

    fn basic(&self, candidate: Candidate<'p>) -> Option<Claim<'p>> {
        let shown = self.basic.clone()?;
        let answered = Answered { shared: false, manner: Manner::Basic };
        let (rule, account) = (candidate.rule, shown.account.clone());
        let secret = Zeroizing::default();
        Some(Claim { rule, account, answered, shown: Some(shown), secret })
    }

    fn fields(
        &self,
        candidate: Candidate<'p>,
        body: &Body<'_>,
    ) -> Result<Option<Claim<'p>>, ClaimError> {
        let claim = |account, secret| Claim {
            rule: candidate.rule,
            account,
            answered: Answered::default(),
            shown: None,
            secret,
        };
        if candidate.is_known_by_head() {
            return Ok(Some(claim(Account::default(), Zeroizing::default())));
        }
        let when = candidate.rule.and_then(|rule| rule.when.as_ref());
        let mut found = Found::new(candidate.wanted());
        let mut holds = when.is_none();
        let reading = self.look(body, &mut |path, value| {
            found.see(path, value);
            holds |= when.is_some_and(|when| when.holds(path, value));
        });
        let must = (candidate.rule.is_some() && !candidate.other_method)
            || self.is_certain()
            || found.password
            || hints_at_password(body.bytes);
        if reading == Reading::Partly {
            return if must { Err(ClaimError::Unreadable) } else { Ok(None) };
        }
        let password = found.password;
        let (account, passwords) = found.account_and_passwords();
        let passwords: Vec<&str> = passwords.iter().map(|password| password.as_str()).collect();
        let secret = Zeroizing::new(passwords.join("\0"));
        let tries = match candidate.rule {
            Some(_) if candidate.other_method && !candidate.is_login() => {
                !account.names().is_empty()
            }
            Some(_) if candidate.other_method => password,
            // Who only looks at a login page tries nothing.
            Some(_) if candidate.is_login() && self.looks => {
                password || !account.names().is_empty()
            }
            Some(_) => true,
            None => password,
        };
        Ok((holds && tries).then(|| claim(account, secret)))
    }

    fn look(&self, body: &Body<'_>, see: &mut dyn FnMut(&[String], &str)) -> Reading {
        // Many shops read a field from the query where the body has none.
        if let Some(query) = &self.query {
            fields::form(query.as_bytes(), see);
        }
        body.whole(fields::each(body.content_types, body.bytes, see))
    }

    fn graphql(
        &self,
        candidate: Candidate<'p>,
        wanted: Option<&str>,
        body: &Body<'_>,
    ) -> Result<Vec<Claim<'p>>, ClaimError> {
        let query = self.query.as_deref();
        let hint = may_hold_password(body.bytes)
            || query.is_some_and(|query| may_hold_password(query.as_bytes()));
        let named = wanted.is_some_and(|name| {
            let holds = |text: &[u8]| memchr::memmem::find(text, name.as_bytes()).is_some();
            holds(body.bytes) || query.is_some_and(|query| holds(query.as_bytes()))
        });
        // Most of what a shop asks there is no login, and is not read twice.
        if !hint && !named && body.extent == Extent::Whole {
            return Ok(Vec::new());
        }
        let (asked, reading) = Asked::read(body.content_types, query, body.bytes);
        // In a form of files the operations come first and the files may be of any size.
        let shown = body.bytes.starts_with(b"--") && asked.has_text();
        if body.whole(reading) == Reading::Partly && !shown {
            return Err(ClaimError::Unreadable);
        }
        let tried =
            asked.tried(wanted, candidate.rule.and_then(|rule| rule.subject_field.as_ref()));
        if tried.is_too_much() {
            return Err(ClaimError::TooMany);
        }
        let manner = Manner::Graphql { fields: tried.fields, renamed: tried.renamed };
        Ok(candidate.claims(tried.guesses, &manner))
    }

    fn xml_rpc(
        &self,
        candidate: Candidate<'p>,
        body: &Body<'_>,
    ) -> Result<Vec<Claim<'p>>, ClaimError> {
        let (root, reading) = fields::xml(body.bytes);
        if body.whole(reading) == Reading::Partly && !xmlrpc::is_enough(&root) {
            return Err(ClaimError::Unreadable);
        }
        Ok(candidate.claims(xmlrpc::guesses(&root), &Manner::Plain))
    }
}

impl Claim<'_> {
    /// The limits of its rule, or those of the file.
    #[must_use]
    pub fn limits<'l>(&'l self, file: &'l Arc<LoginLimits>) -> &'l Arc<LoginLimits> {
        self.rule.and_then(|rule| rule.limits.as_ref()).unwrap_or(file)
    }

    /// The accounts that it names.
    #[must_use]
    pub fn names(&self) -> &[String] {
        self.account.names()
    }

    fn kind(&self) -> GuardKind {
        self.rule.map_or(GuardKind::Login, |rule| rule.kind)
    }

    /// The guard that counts it, where it is no login.
    #[must_use]
    pub fn guard(&self) -> Option<&GuardRule> {
        self.rule.map(|rule| &**rule).filter(|rule| rule.kind != GuardKind::Login)
    }
}

impl<'p> Candidate<'p> {
    fn wanted(&self) -> Wanted<'p> {
        let field = self.rule.and_then(|rule| rule.subject_field.as_ref());
        match field {
            Some(field) => Wanted::Field(field),
            None if self.is_login() => Wanted::Usual,
            None => Wanted::Nothing,
        }
    }

    fn claims(&self, guesses: Vec<Guess>, manner: &Manner) -> Vec<Claim<'p>> {
        let answered = Answered { shared: guesses.len() > 1, manner: manner.clone() };
        let claim = |guess: Guess| Claim {
            rule: self.rule,
            account: guess.account,
            answered: answered.clone(),
            shown: None,
            secret: Zeroizing::default(),
        };
        guesses.into_iter().map(claim).collect()
    }
}

/// A body, as far as it is there.
struct Body<'b> {
    content_types: &'b [&'b [u8]],
    bytes: &'b [u8],
    extent: Extent,
}

impl Body<'_> {
    fn whole(&self, reading: Reading) -> Reading {
        if self.extent == Extent::Whole { reading } else { Reading::Partly }
    }
}
