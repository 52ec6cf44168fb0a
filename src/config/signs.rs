//! What in an answer tells how an attempt went.

use http::StatusCode;

use super::compile::Compiler;
use super::schema::{HeaderSignSchema, JsonSignSchema, SignsSchema};
use super::source::At;
use crate::policy::Sign;

impl Compiler<'_> {
    pub(super) fn signs(&mut self, table: &str, written: Option<&At<SignsSchema>>) -> Vec<Sign> {
        let Some(at) = written else { return Vec::new() };
        let key = |name: &str| format!("{table}.{name}");
        let SignsSchema { status, location, cookie, header, body, json } = at.get();
        let mut signs = self.statuses(&key("status"), status);
        let compiled = location.as_ref().and_then(|at| self.regex(&key("location"), at));
        signs.extend(compiled.map(Sign::Location));
        let name = cookie.as_ref().and_then(|at| self.cookie(&key("cookie"), at));
        signs.extend(name.map(Sign::Cookie));
        signs.extend(header.as_ref().and_then(|at| self.header_sign(&key("header"), at.get())));
        let compiled = body.as_ref().and_then(|at| self.regex(&key("body"), at));
        signs.extend(compiled.map(Sign::Body));
        signs.extend(json.as_ref().and_then(|at| self.json_sign(&key("json"), at.get())));
        let named = [location.is_some(), cookie.is_some(), header.is_some(), body.is_some()];
        if status.is_empty() && json.is_none() && !named.contains(&true) {
            let remedy = "give `status`, `location`, `cookie`, `header`, `body` or `json`, or \
                          remove the key";
            self.refuse(&at.span(), table, "names no sign", remedy);
        }
        signs
    }

    fn statuses(&mut self, key: &str, written: &[At<std::num::NonZeroU32>]) -> Vec<Sign> {
        let mut signs = Vec::new();
        for code in written {
            let number = u16::try_from(code.get().get()).ok();
            match number.filter(|code| *code < 600).and_then(|code| StatusCode::from_u16(code).ok())
            {
                Some(code) => signs.push(Sign::Status(code)),
                None => {
                    let message = format!("{} is not a status", code.get());
                    self.refuse(&code.span(), key, message, "write one from 100 to 599");
                }
            }
        }
        signs
    }

    fn header_sign(&mut self, table: &str, written: &HeaderSignSchema) -> Option<Sign> {
        let name = self.header_name(&format!("{table}.name"), &written.name);
        let value = written.value.as_ref().map(|at| self.regex(&format!("{table}.value"), at));
        match value {
            Some(value) => Some(Sign::Header(name?, Some(value?))),
            None => Some(Sign::Header(name?, None)),
        }
    }

    fn json_sign(&mut self, table: &str, written: &JsonSignSchema) -> Option<Sign> {
        let pointer = written.pointer.get();
        // RFC 6901 §3: `~` is written `~0`, and `/` in a name `~1`.
        let escaped = pointer.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
        let sound = escaped && (pointer.is_empty() || pointer.starts_with('/'));
        if !sound {
            let span = written.pointer.span();
            let message = format!("{} is not a JSON pointer", self.source.quote(&span));
            let remedy = "write it as in \"/data/login/token\"";
            self.refuse(&span, &format!("{table}.pointer"), message, remedy);
        }
        let value = written.value.as_ref().map(|at| self.regex(&format!("{table}.value"), at));
        let value = match value {
            Some(value) => Some(value?),
            None => None,
        };
        sound.then(|| Sign::Json(pointer.clone(), value))
    }

    fn cookie(&mut self, key: &str, at: &At<String>) -> Option<String> {
        // RFC 6265 §4.1.1: the name of a cookie is a token.
        let sound = |c: char| c.is_ascii_graphic() && !"()<>@,;:\\\"/[]?={}".contains(c);
        let name = at.get();
        if name.is_empty() || !name.chars().all(sound) {
            let message = format!("{} is not the name of a cookie", self.source.quote(&at.span()));
            self.refuse(&at.span(), key, message, "write the name alone, as in \"session\"");
            return None;
        }
        Some(name.clone())
    }
}
