//! How a GraphQL server answers a login: with status 200, whatever comes of it.
//!
//! A client chooses which fields it is answered, so only what says "yes" counts as a success: an
//! error that was not asked for is an error not seen.

use crate::counters::Outcome;
use crate::policy::squeeze;
use crate::proxy::login::fields;

/// Parts of the names that only a login that succeeded has values for: tokens, and the customer.
const PROOFS: [&str; 9] =
    ["token", "jwt", "session", "expire", "email", "name", "key", "success", "identifier"];

/// The outcome of the logins under these fields of `data`; none means under any.
pub(in crate::proxy::login) fn outcome(answer: &str, fields: &[String]) -> Outcome {
    let (mut no, mut yes) = (false, false);
    fields::json(answer, &mut |path, value| {
        let path: Vec<&str> = path.iter().map(String::as_str).filter(|p| !p.is_empty()).collect();
        let given = !matches!(value, "" | "false");
        no |= given && path.iter().any(|part| is_error(part));
        if let ["data", field, inside @ ..] = &path[..] {
            let asked = |wanted: &String| wanted.is_empty() || wanted == field;
            yes |= given && fields.iter().any(asked) && proves(inside);
        }
    });
    if yes && !no { Outcome::Success } else { Outcome::Failure }
}

/// `errors`, `customerUserErrors`, `errorCode`, `authenticationError`.
fn is_error(name: &str) -> bool {
    squeeze(name).contains("error")
}

/// A value of the login itself, or one that has a telling name.
fn proves(path: &[&str]) -> bool {
    let Some(last) = path.last() else { return true };
    let name = squeeze(last);
    // `__typename` is there for errors too.
    !last.starts_with("__")
        && (name.ends_with("id") || PROOFS.iter().any(|proof| name.contains(proof)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_real_servers_are_told_apart() {
        let cases = [
            // Magento
            ("generateCustomerToken", r#"{"data":{"generateCustomerToken":{"token":"a1"}}}"#, true),
            (
                "generateCustomerToken",
                r#"{"errors":[{"message":"The account sign-in was incorrect"}],"data":{"generateCustomerToken":null}}"#,
                false,
            ),
            // Saleor
            ("tokenCreate", r#"{"data":{"tokenCreate":{"token":"a1","errors":[]}}}"#, true),
            (
                "tokenCreate",
                r#"{"data":{"tokenCreate":{"token":null,"errors":[{"code":"INVALID_CREDENTIALS"}]}}}"#,
                false,
            ),
            // Shopify
            (
                "customerAccessTokenCreate",
                r#"{"data":{"customerAccessTokenCreate":{"customerAccessToken":null,"customerUserErrors":[{"code":"UNIDENTIFIED_CUSTOMER"}]}}}"#,
                false,
            ),
            // Vendure
            ("login", r#"{"data":{"login":{"__typename":"CurrentUser","id":"7"}}}"#, true),
            (
                "login",
                r#"{"data":{"login":{"__typename":"InvalidCredentialsError","message":"no"}}}"#,
                false,
            ),
            // WPGraphQL
            ("login", r#"{"data":{"login":{"authToken":"a","user":{"name":"Ann"}}}}"#, true),
            ("signIn", r#"{"data":{"signIn":"a1"}}"#, true),
            ("signIn", r#"{"data":{"signIn":false}}"#, false),
        ];
        for (field, answer, success) in cases {
            let expected = if success { Outcome::Success } else { Outcome::Failure };
            assert_eq!(outcome(answer, &[field.to_owned()]), expected, "{answer}");
        }
    }

    #[test]
    fn what_else_was_asked_proves_nothing() {
        let answer = r#"{"data":{"login":{"token":null},"createCart":{"id":"c1"}}}"#;
        assert_eq!(outcome(answer, &["login".to_owned()]), Outcome::Failure);
        assert_eq!(outcome("", &["login".to_owned()]), Outcome::Failure);
    }
}
