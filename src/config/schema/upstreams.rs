//! The servers of a site, as people write them.

use std::borrow::Cow;
use std::fmt;
use std::num::{NonZeroU32, NonZeroUsize};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::PairSchema;
use crate::config::source::At;

/// A server: its address, or a table where there is more to say.
pub(in crate::config) enum UpstreamSchema {
    Address(String),
    Server(Box<ServerSchema>),
}

/// A server of which there is more to say than its address.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct ServerSchema {
    /// Its address.
    pub(in crate::config) url: At<String>,
    /// PEM file of the authorities it is verified by; those of the site where absent.
    pub(in crate::config) ca: Option<At<String>>,
    /// The name that is asked for in its handshake and must be in its certificate; its host where absent.
    pub(in crate::config) server_name: Option<At<String>>,
    /// What it is shown, where it asks who we are.
    pub(in crate::config) client_certificate: Option<At<PairSchema>>,
}

/// Not an untagged enum: serde buffers those, and what is buffered no longer knows its place in the
/// file.
impl<'de> Deserialize<'de> for UpstreamSchema {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UpstreamVisitor)
    }
}

struct UpstreamVisitor;

impl<'de> Visitor<'de> for UpstreamVisitor {
    type Value = UpstreamSchema;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an address or a table")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(UpstreamSchema::Address(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let server = ServerSchema::deserialize(MapAccessDeserializer::new(map))?;
        Ok(UpstreamSchema::Server(Box::new(server)))
    }
}

impl JsonSchema for UpstreamSchema {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Upstream".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let server = generator.subschema_for::<ServerSchema>();
        json_schema!({ "anyOf": [server, { "type": "string" }] })
    }
}

/// How requests are shared among the servers of a site.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct BalanceSchema {
    /// A cookie of this name leads a client to the server that it had before.
    pub(in crate::config) sticky: Option<At<String>>,
    /// How many requests one server works on at once; as many as come where absent.
    pub(in crate::config) in_flight: Option<At<NonZeroUsize>>,
    /// With `in_flight`: how many requests of the site wait for a server, at most.
    #[schemars(extend("default" = 100))]
    pub(in crate::config) queue: Option<At<usize>>,
    /// For how long they wait.
    #[schemars(extend("default" = "2s"))]
    pub(in crate::config) queue_wait: Option<At<String>>,
    /// How often a request is sent in all, where it may be sent again.
    #[schemars(extend("default" = 3))]
    pub(in crate::config) attempts: Option<At<NonZeroU32>>,
    /// How many requests may be sent again, in per cent.
    #[schemars(extend("default" = 20))]
    pub(in crate::config) retry_percent: Option<At<u32>>,
    /// But so many in a second in any case.
    #[schemars(extend("default" = 10))]
    pub(in crate::config) retry_min: Option<At<u32>>,
    /// How often names are looked up again; each address counts as a server.
    #[schemars(extend("default" = "30s"))]
    pub(in crate::config) resolve_every: Option<At<String>>,
}

/// When a server is left alone.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct HealthSchema {
    /// What each server is asked for; none is asked where absent.
    pub(in crate::config) path: Option<At<String>>,
    /// What `Host` says then; the server's own name where absent.
    pub(in crate::config) host: Option<At<String>>,
    /// How often it is asked.
    #[schemars(extend("default" = "5s"))]
    pub(in crate::config) interval: Option<At<String>>,
    /// How long the answer may take.
    #[schemars(extend("default" = "2s"))]
    pub(in crate::config) timeout: Option<At<String>>,
    /// What a healthy server answers; any 2xx or 3xx where empty.
    #[schemars(extend("default" = []))]
    pub(in crate::config) status: Option<At<Vec<At<NonZeroU32>>>>,
    /// So many such failures in a row take it out.
    #[schemars(extend("default" = 3))]
    pub(in crate::config) fall: Option<At<NonZeroU32>>,
    /// So many successes in a row bring it back.
    #[schemars(extend("default" = 2))]
    pub(in crate::config) rise: Option<At<NonZeroU32>>,
    /// So many requests of customers in a row that it fails take it out, whether it is asked or not.
    #[schemars(extend("default" = 3))]
    pub(in crate::config) failures: Option<At<NonZeroU32>>,
    /// Answers that count as such, beside none and one that is too late.
    #[schemars(extend("default" = [502, 503, 504]))]
    pub(in crate::config) failure_status: Option<At<Vec<At<NonZeroU32>>>>,
    /// For how long it is then out; each further time is twice as long.
    #[schemars(extend("default" = "10s"))]
    pub(in crate::config) eject: Option<At<String>>,
    /// But no longer than this.
    #[schemars(extend("default" = "5m"))]
    pub(in crate::config) eject_max: Option<At<String>>,
    /// For how long a server that comes back gets less than its share.
    #[schemars(extend("default" = "10s"))]
    pub(in crate::config) slow_start: Option<At<String>>,
    /// With fewer servers left than so many per cent, all are used.
    #[schemars(extend("default" = 20))]
    pub(in crate::config) panic_percent: Option<At<u32>>,
}

/// When a site is closed.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct MaintenanceSchema {
    /// Whether it is closed (503, as the page for that status says).
    #[schemars(extend("default" = false))]
    pub(in crate::config) enabled: Option<At<bool>>,
    /// It is closed while there is such a file, too.
    pub(in crate::config) flag: Option<At<String>>,
    /// Networks that are let in all the same.
    #[schemars(extend("default" = []))]
    pub(in crate::config) allow: Option<At<Vec<At<String>>>>,
    /// When the others are told to come back.
    #[schemars(extend("default" = "10m"))]
    pub(in crate::config) retry_after: Option<At<String>>,
}
