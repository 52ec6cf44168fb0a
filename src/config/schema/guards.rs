//! What counts as a login, or as another guarded attempt, as people write it.

use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::Deserialize;

use super::LoginSchema;
use crate::config::source::At;

/// What counts as a login: `preset`, or `path` and what else tells it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct SiteLoginSchema {
    /// The logins, and what else is guarded, of a shop of this make.
    pub(in crate::config) preset: Option<At<ShopSchema>>,
    /// The path of an attempt; `*` is any run of characters. With `preset` that of its login page.
    #[schemars(extend("examples" = ["/account/login"]))]
    pub(in crate::config) path: Option<At<String>>,
    /// The method of an attempt.
    #[schemars(extend("default" = "POST"))]
    pub(in crate::config) method: Option<At<String>>,
    /// Where the account and the password stand.
    #[schemars(extend("default" = "fields"))]
    pub(in crate::config) carrier: Option<At<CarrierSchema>>,
    /// The GraphQL mutation, or the operation it is in; the usual ones where absent.
    pub(in crate::config) operation: Option<At<String>>,
    /// What else an attempt must hold.
    pub(in crate::config) when: Option<At<WhenSchema>>,
    /// The field that names the account; the usual names where absent.
    pub(in crate::config) account_field: Option<At<String>>,
    /// Any of these makes the attempt a success.
    pub(in crate::config) success: Option<At<SignsSchema>>,
    /// Any of these makes the attempt a failure.
    pub(in crate::config) failure: Option<At<SignsSchema>>,
    /// Keys of `[login]` that differ here.
    pub(in crate::config) limits: Option<At<LoginSchema>>,
}

/// What else strangers repeat.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct SiteGuardSchema {
    /// For metrics, logs and refusals.
    pub(in crate::config) name: At<String>,
    /// What is guarded, which says what is counted where `counts` does not.
    #[schemars(extend("default" = "other"))]
    pub(in crate::config) kind: Option<At<KindSchema>>,
    /// The path of an attempt; `*` is any run of characters.
    pub(in crate::config) path: At<String>,
    /// The method of an attempt.
    #[schemars(extend("default" = "POST"))]
    pub(in crate::config) method: Option<At<String>>,
    /// Where the fields stand.
    #[schemars(extend("default" = "fields"))]
    pub(in crate::config) carrier: Option<At<CarrierSchema>>,
    /// The GraphQL mutation, or the operation it is in.
    pub(in crate::config) operation: Option<At<String>>,
    /// What else an attempt must hold.
    pub(in crate::config) when: Option<At<WhenSchema>>,
    /// Which outcomes are held against the client; by `kind` where absent.
    pub(in crate::config) counts: Option<At<CountsSchema>>,
    /// A field by whose value is counted too, as by account; only by network where absent.
    pub(in crate::config) subject_field: Option<At<String>>,
    /// Any of these makes the attempt a success.
    pub(in crate::config) success: Option<At<SignsSchema>>,
    /// Any of these makes the attempt a failure.
    pub(in crate::config) failure: Option<At<SignsSchema>>,
    /// Any of these is a declined card; for `kind = "payment"`, in place of `failure`.
    pub(in crate::config) declined: Option<At<SignsSchema>>,
    /// Keys of `[login]` that differ here.
    pub(in crate::config) limits: Option<At<LoginSchema>>,
}

/// A shop whose logins are known.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum ShopSchema {
    Django,
    Magento,
    Opencart,
    Prestashop,
    Shopware,
    Woocommerce,
}

/// Where the account and the password stand.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum CarrierSchema {
    /// In `Authorization: Basic`.
    Basic,
    /// In the fields of a form, JSON, XML or the query.
    Fields,
    /// In a GraphQL mutation.
    Graphql,
    /// In an XML-RPC call.
    Xmlrpc,
}

/// What is guarded.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum KindSchema {
    /// Codes that are worth money: failures count.
    Coupon,
    /// Something else: attempts count.
    Other,
    /// Cards: declines count.
    Payment,
    /// New accounts: successes count.
    Registration,
    /// Mails that set a new password: attempts count.
    Reset,
}

/// Which outcomes are held against the client.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum CountsSchema {
    Attempts,
    Failures,
    Successes,
}

/// What a request must hold to be an attempt: `field` or `query`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct WhenSchema {
    /// A field of the body or the query.
    pub(in crate::config) field: Option<At<String>>,
    /// A parameter of the query.
    pub(in crate::config) query: Option<At<String>>,
    /// What it must hold, `*` is any run of characters; anything where absent.
    pub(in crate::config) value: Option<At<String>>,
}

/// What in the shop's answer tells how an attempt went.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct SignsSchema {
    /// Status codes.
    #[serde(default)]
    pub(in crate::config) status: Vec<At<NonZeroU32>>,
    /// A regular expression on the `Location` header.
    pub(in crate::config) location: Option<At<String>>,
    /// The name of a cookie that is set.
    pub(in crate::config) cookie: Option<At<String>>,
    /// A header.
    pub(in crate::config) header: Option<At<HeaderSignSchema>>,
    /// A regular expression on the first 64 KiB of the body.
    pub(in crate::config) body: Option<At<String>>,
    /// A value in a JSON body of up to 64 KiB.
    pub(in crate::config) json: Option<At<JsonSignSchema>>,
}

/// A header of an answer.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct HeaderSignSchema {
    /// Its name.
    pub(in crate::config) name: At<String>,
    /// A regular expression on its value; any value where absent.
    pub(in crate::config) value: Option<At<String>>,
}

/// A value in a JSON body.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct JsonSignSchema {
    /// Where it is (RFC 6901); it must have a value.
    pub(in crate::config) pointer: At<String>,
    /// A regular expression on its text; any value where absent.
    pub(in crate::config) value: Option<At<String>>,
}
