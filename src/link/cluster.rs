//! The server of a cluster that keeps our keys.
//!
//! A script works on keys of one hash slot only, and one attempt to log in is counted under several
//! keys at once. So all keys of a link carry one tag, their slot has one primary, and a cluster is to us
//! what sentinels are: it says where that primary is, and who follows when it dies. One connection,
//! which is given up at the first redirection, is all that takes; a client that knows every slot would
//! hold one to each server and retry behind our backs for longer than a customer waits.

use redis::aio::MultiplexedConnection;
use redis::{RedisError, TlsCertificates, Value};
use tokio::time::timeout;

use super::CONNECT_WAIT;
use super::connect::{Connector, denied};
use super::outage::LinkOutage;
use crate::policy::RedisHost;

impl Connector {
    /// Asks one server after another: one that is dead, or cut off from the others, does not know.
    pub(super) async fn by_cluster(
        &self,
        hosts: &[RedisHost],
        certificates: Option<TlsCertificates>,
    ) -> Result<MultiplexedConnection, LinkOutage> {
        let wait = CONNECT_WAIT / u32::try_from(hosts.len()).unwrap_or(u32::MAX).max(1);
        let mut outage = LinkOutage::Unreachable;
        for host in hosts {
            match timeout(wait, self.by_member(host, certificates.clone())).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(failure)) => outage = failure,
                Err(_) => outage = LinkOutage::Stalled,
            }
        }
        Err(outage)
    }

    /// The primary of our slot, as this server knows it.
    async fn by_member(
        &self,
        host: &RedisHost,
        certificates: Option<TlsCertificates>,
    ) -> Result<MultiplexedConnection, LinkOutage> {
        let refused = |failure: RedisError| denied(&failure);
        let mut member = self.to_server(host, certificates.clone()).await.map_err(refused)?;
        let mut questions = redis::pipe();
        questions.cmd("CLUSTER").arg("INFO");
        questions.cmd("CLUSTER").arg("KEYSLOT").arg(self.keys);
        questions.cmd("CLUSTER").arg("SLOTS");
        let answers = questions.query_async::<(String, i64, Value)>(&mut member).await;
        let (info, slot, ranges) = answers.map_err(refused)?;
        if !info.contains("cluster_state:ok") {
            return Err(LinkOutage::Moved);
        }
        let primary = primary_of(slot, &ranges, host).ok_or(LinkOutage::Moved)?;
        self.to_server(&primary, certificates).await.map_err(refused)
    }
}

/// Finds the range of the slot in what `CLUSTER SLOTS` answers: each is its first and last slot, its
/// primary and its replicas, and a server its address, its port and more.
fn primary_of(slot: i64, ranges: &Value, asked: &RedisHost) -> Option<RedisHost> {
    let Value::Array(ranges) = ranges else { return None };
    let primary = ranges.iter().find_map(|range| match range {
        Value::Array(range) => match range.as_slice() {
            [Value::Int(first), Value::Int(last), primary, ..] => {
                (*first..=*last).contains(&slot).then_some(primary)
            }
            _ => None,
        },
        _ => None,
    })?;
    let Value::Array(primary) = primary else { return None };
    let [host, Value::Int(port), ..] = primary.as_slice() else { return None };
    let host = match host {
        // It knows no address of its own but the one that we have used.
        Value::Nil => asked.host.clone(),
        Value::BulkString(host) => String::from_utf8(host.clone()).ok()?,
        _ => return None,
    };
    // What a server is called whose name is not known yet.
    let known = !matches!(host.as_str(), "" | "?");
    known.then_some(RedisHost { host, port: u16::try_from(*port).ok()? })
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;
    use std::time::Duration;

    use redis::Script;

    use super::*;
    use crate::link::{Link, server};
    use crate::policy::RedisAddress;

    const KEYS: &str = "tillgate:{test}:";

    fn ranges(host: Value) -> Value {
        let server = |host, port| Value::Array(vec![host, Value::Int(port), Value::Nil]);
        let other = Value::BulkString(b"other".to_vec());
        Value::Array(vec![
            Value::Array(vec![Value::Int(0), Value::Int(99), server(other.clone(), 1)]),
            Value::Array(vec![Value::Int(100), Value::Int(199), server(host, 7), server(other, 2)]),
        ])
    }

    #[test]
    fn the_primary_is_that_of_the_range() {
        let asked = RedisHost { host: "asked".to_owned(), port: 1 };
        let found =
            |slot, host| primary_of(slot, &ranges(host), &asked).map(|found| found.to_string());
        let named = |name: &str| Value::BulkString(name.as_bytes().to_vec());
        assert_eq!(found(150, named("b")).as_deref(), Some("b:7"));
        assert_eq!(found(99, named("b")).as_deref(), Some("other:1"));
        assert_eq!(found(150, Value::Nil).as_deref(), Some("asked:7"));
        for (slot, host) in [(200, named("b")), (150, named("?")), (150, named(""))] {
            assert_eq!(found(slot, host), None);
        }
        assert!(primary_of(1, &Value::Okay, &asked).is_none());
    }

    #[tokio::test]
    async fn a_link_finds_the_primary_of_its_keys_and_follows_them() {
        let Some(cluster) = server::Cluster::start("") else { return };
        let address = RedisAddress::parse(&cluster.url(), Path::new("/")).unwrap();
        let patience = Duration::from_secs(20);
        let link = Link::with_patience(Arc::new(address), KEYS, patience).await.unwrap();
        let script = Script::new("return redis.call('INCR', KEYS[1])");
        let mut call = script.prepare_invoke();
        call.key(format!("{KEYS}n"));
        assert_eq!(link.call::<i64>(&call).await, Ok(1));
        // By the operator, with everybody in good health: no connection breaks.
        cluster.hand_over(KEYS);
        let begun = std::time::Instant::now();
        let mut moved = 0;
        let value = loop {
            match link.call::<i64>(&call).await {
                Ok(value) => break value,
                Err(_) => moved += 1,
            }
            assert!(begun.elapsed() < patience, "never found again");
            tokio::task::yield_now().await;
        };
        assert_eq!(value, 2);
        assert!(moved > 0, "nothing has moved");
    }
}
