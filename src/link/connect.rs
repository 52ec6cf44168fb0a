//! A new connection: where the address points, or where the sentinels or the cluster do.

use std::fs;
use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::sentinel::{SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo,
    RedisError, RedisResult, ServerErrorKind, TlsCertificates, TlsMode,
};
use tracing::{error, warn};

use super::outage::LinkOutage;
use crate::policy::{RedisAddress, RedisHost, RedisPlace, RedisTls};

/// The one setting of `maxmemory-policy` under which the server keeps what it has confirmed.
const KEEPING: &str = "noeviction";

/// Opens connections to one address. Files are read anew for each, so that an authority can be
/// replaced without a restart.
pub(super) struct Connector {
    pub(super) address: Arc<RedisAddress>,
    /// What all our keys begin with.
    pub(super) keys: &'static str,
}

impl Connector {
    pub(super) async fn connect(&self) -> Result<MultiplexedConnection, LinkOutage> {
        let certificates = self.certificates()?;
        let connected = match &self.address.place {
            RedisPlace::Cluster(hosts) => {
                let mut connection = self.by_cluster(hosts, certificates).await?;
                self.examine(&mut connection).await?;
                return Ok(connection);
            }
            RedisPlace::Server(host) => self.to_server(host, certificates).await,
            RedisPlace::Sentinels { hosts, service } => {
                self.by_sentinels(hosts, service, certificates).await
            }
        };
        let mut connection = connected.map_err(|failure| denied(&failure))?;
        self.examine(&mut connection).await?;
        Ok(connection)
    }

    pub(super) async fn to_server(
        &self,
        host: &RedisHost,
        certificates: Option<TlsCertificates>,
    ) -> RedisResult<MultiplexedConnection> {
        let address = self.address.as_ref();
        let mut login = RedisConnectionInfo::default().set_db(i64::from(address.database));
        if let Some(user) = &address.user {
            login = login.set_username(user);
        }
        if let Some(password) = &address.password {
            login = login.set_password(password.expose());
        }
        let info = self.at(host).into_connection_info()?.set_redis_settings(login);
        let client = match certificates {
            Some(certificates) => Client::build_with_tls(info, certificates)?,
            None => Client::open(info)?,
        };
        client.get_multiplexed_async_connection_with_config(&settings()).await
    }

    async fn by_sentinels(
        &self,
        hosts: &[RedisHost],
        service: &str,
        certificates: Option<TlsCertificates>,
    ) -> RedisResult<MultiplexedConnection> {
        let address = self.address.as_ref();
        let sentinels: Vec<_> = hosts.iter().map(|host| self.at(host)).collect();
        let primary = SentinelServerType::Master;
        let mut builder = SentinelClientBuilder::new(sentinels, service, primary)?
            .set_client_to_redis_db(i64::from(address.database));
        if let Some(user) = &address.user {
            builder = builder.set_client_to_redis_username(user);
        }
        if let Some(password) = &address.password {
            builder = builder.set_client_to_redis_password(password.expose());
        }
        if let Some(password) = &address.sentinel_password {
            builder = builder.set_client_to_sentinel_password(password.expose());
        }
        if let Some(certificates) = certificates {
            builder = builder
                .set_client_to_redis_tls_mode(TlsMode::Secure)
                .set_client_to_redis_certificates(certificates.clone())
                .set_client_to_sentinel_certificates(certificates);
        }
        builder.build()?.get_async_connection_with_config(&settings()).await
    }

    /// Looks at what kind of server it is; one that lets us not is believed.
    async fn examine(&self, connection: &mut MultiplexedConnection) -> Result<(), LinkOutage> {
        let info = match redis::cmd("INFO").query_async::<String>(connection).await {
            Ok(info) => info,
            Err(failure) if failure.kind() == ServerErrorKind::NoPerm.into() => return Ok(()),
            Err(failure) => return Err(super::said(&failure)),
        };
        let own_cluster = matches!(self.address.place, RedisPlace::Cluster(_));
        if fact(&info, "cluster_enabled") == Some("1") && !own_cluster {
            let server = &self.address;
            warn!(%server, "the shared store belongs to a cluster; write redis+cluster://");
        }
        if fact(&info, "role").is_some_and(|role| role != "master") {
            return Err(LinkOutage::ReadOnly);
        }
        if let Some(policy) = fact(&info, "maxmemory_policy").filter(|policy| *policy != KEEPING) {
            let server = &self.address;
            // Whoever fills its memory then frees locked accounts and loses others' codes.
            warn!(%server, policy, "the shared store may evict; set maxmemory-policy noeviction");
        }
        Ok(())
    }

    fn at(&self, RedisHost { host, port }: &RedisHost) -> ConnectionAddr {
        let (host, port) = (host.clone(), *port);
        match &self.address.tls {
            Some(_) => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
            None => ConnectionAddr::Tcp(host, port),
        }
    }

    /// What the server's certificate is verified by, where one is asked for.
    fn certificates(&self) -> Result<Option<TlsCertificates>, LinkOutage> {
        let Some(RedisTls { root }) = &self.address.tls else { return Ok(None) };
        let root_cert = root.as_ref().map(fs::read).transpose().map_err(|error| {
            let path = root.as_deref().map(|path| path.display().to_string());
            error!(%error, path, "the authorities of the shared store cannot be read");
            LinkOutage::Denied
        })?;
        Ok(Some(TlsCertificates { client_tls: None, root_cert }))
    }
}

/// What a failure to connect means: all that is asked by then is who we are and for which database.
pub(super) fn denied(failure: &RedisError) -> LinkOutage {
    match super::said(failure) {
        LinkOutage::Refused => LinkOutage::Denied,
        outage => outage,
    }
}

/// Waiting is bounded by the callers.
fn settings() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None)
}

/// A line of what `INFO` answers.
fn fact<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}
