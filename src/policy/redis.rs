//! Where a Redis or Valkey server is, and who we are to it.
//!
//! What is shown of an address is its servers: the rest may hold a password.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::Password;
use super::postgres::decoded;

/// The port of a server.
const PORT: u16 = 6379;

/// The port of a sentinel.
const SENTINEL_PORT: u16 = 26379;

/// A server, and how to log in to it.
#[derive(Eq, PartialEq)]
pub struct RedisAddress {
    /// Where it is.
    pub place: RedisPlace,
    /// The user of the server's access list, if it is not the usual one.
    pub user: Option<String>,
    /// The password.
    pub password: Option<Password>,
    /// The password of the sentinels, which have their own.
    pub sentinel_password: Option<Password>,
    /// The number of the database.
    pub database: u16,
    /// How connections are encrypted, if they are.
    pub tls: Option<RedisTls>,
}

/// Where a server is.
#[derive(Clone, Eq, PartialEq)]
pub enum RedisPlace {
    /// Where a cluster keeps our keys; asked of these of its servers in this order.
    Cluster(Vec<RedisHost>),
    /// Always here.
    Server(RedisHost),
    /// Where the sentinels say the primary of this name is; never without a sentinel.
    Sentinels {
        /// Asked in this order.
        hosts: Vec<RedisHost>,
        /// What the sentinels call it.
        service: String,
    },
}

/// One server or sentinel.
#[derive(Clone, Eq, PartialEq)]
pub struct RedisHost {
    /// A name or an address, without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// How connections are encrypted; the certificate is always verified.
#[derive(Clone, Eq, PartialEq)]
pub struct RedisTls {
    /// PEM of the authorities that it may come from; those of the system where absent.
    pub root: Option<PathBuf>,
}

/// What is wrong with a written address. Holds nothing of it.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum RedisAddressError {
    /// A database of a cluster.
    #[error("names a database, which a cluster does not have")]
    ClusterDatabase,
    /// Not a number of a database.
    #[error("has no such database")]
    Database,
    /// No server.
    #[error("names no server")]
    NoHost,
    /// Sentinels are asked for something.
    #[error("does not say which primary the sentinels are asked for")]
    NoService,
    /// An unknown parameter.
    #[error("has a parameter that is not known")]
    Parameter,
    /// A `%` that begins no byte.
    #[error("has a `%` that is not followed by two hex digits")]
    Percent,
    /// A port out of range.
    #[error("has no such port")]
    Port,
    /// Not the address of a Redis server.
    #[error("does not begin with redis:// or rediss://")]
    Scheme,
}

/// What the hosts of an address are.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Kind {
    Cluster,
    Sentinels,
    Server,
}

impl RedisAddress {
    /// Reads `redis://user:password@host:port/database`, with `rediss` for TLS and `?ca=…` for its
    /// authorities, `redis+sentinel://…@host:port,host:port/service/database` or
    /// `redis+cluster://…@host:port,host:port`; relative paths start at `folder`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, RedisAddressError> {
        let (scheme, rest) = text.split_once("://").ok_or(RedisAddressError::Scheme)?;
        let (encrypted, kind) = match scheme {
            "redis" => (false, Kind::Server),
            "rediss" => (true, Kind::Server),
            "redis+cluster" => (false, Kind::Cluster),
            "rediss+cluster" => (true, Kind::Cluster),
            "redis+sentinel" => (false, Kind::Sentinels),
            "rediss+sentinel" => (true, Kind::Sentinels),
            _ => return Err(RedisAddressError::Scheme),
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, servers) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = match login.split_once(':') {
            Some((user, password)) => (user, Some(secret(password)?)),
            None => (login, None),
        };
        let (place, database) = place(servers, path, kind)?;
        let mut address = Self {
            place,
            user: Some(decode(user)?).filter(|user| !user.is_empty()),
            password,
            sentinel_password: None,
            database,
            tls: encrypted.then_some(RedisTls { root: None }),
        };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match (name, &mut address.tls) {
                ("ca", Some(tls)) => tls.root = Some(folder.join(decode(value)?)),
                ("sentinel_password", _) if kind == Kind::Sentinels => {
                    address.sentinel_password = Some(secret(value)?);
                }
                _ => return Err(RedisAddressError::Parameter),
            }
        }
        Ok(address)
    }

    /// Whether what is said could be read, or answered, by somebody on the way.
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        self.tls.is_none() && !self.place.is_local()
    }
}

impl RedisPlace {
    /// Whether it can only be this machine. Sentinels and clusters may send us anywhere.
    fn is_local(&self) -> bool {
        match self {
            Self::Cluster(_) | Self::Sentinels { .. } => false,
            Self::Server(RedisHost { host, .. }) => {
                let address = host.parse::<IpAddr>();
                address.map_or(host.eq_ignore_ascii_case("localhost"), |it| it.is_loopback())
            }
        }
    }
}

impl RedisAddressError {
    /// What to do about it.
    #[must_use]
    pub fn remedy(self) -> &'static str {
        match self {
            Self::ClusterDatabase => "write no more than \"redis+cluster://host1,host2\"",
            Self::Database => "write the number of a database, as in redis://host:6379/0",
            Self::NoHost | Self::Scheme => "write it as in \"redis://host:6379\"",
            Self::NoService => "write it as in \"redis+sentinel://host1,host2/mymaster\"",
            Self::Parameter => {
                "those known are ca, with rediss://, and sentinel_password, with +sentinel"
            }
            Self::Percent => {
                "write `%` as %25, and `@`, `:`, `/` and `?` of a password as %40, %3A, %2F and %3F"
            }
            Self::Port => "write a port from 1 to 65535",
        }
    }
}

impl fmt::Display for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listed = |f: &mut fmt::Formatter<'_>, hosts: &[RedisHost]| {
            hosts.iter().try_for_each(|host| write!(f, "{host},"))
        };
        match &self.place {
            RedisPlace::Cluster(hosts) => {
                listed(f, hosts)?;
                f.write_str("cluster")
            }
            RedisPlace::Server(host) => write!(f, "{host}/{}", self.database),
            RedisPlace::Sentinels { hosts, service } => {
                listed(f, hosts)?;
                write!(f, "{service}/{}", self.database)
            }
        }
    }
}

impl fmt::Debug for RedisAddress {
    /// As it is shown: the login stays hidden.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for RedisHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

fn place(servers: &str, path: &str, kind: Kind) -> Result<(RedisPlace, u16), RedisAddressError> {
    let several = |usual| -> Result<Vec<_>, _> {
        servers.split(',').map(|server| host(server, usual)).collect()
    };
    match kind {
        Kind::Cluster if matches!(path, "" | "0") => Ok((RedisPlace::Cluster(several(PORT)?), 0)),
        Kind::Cluster => Err(RedisAddressError::ClusterDatabase),
        Kind::Sentinels => {
            let (service, path) = path.split_once('/').unwrap_or((path, ""));
            let service = decode(service)?;
            if service.is_empty() {
                return Err(RedisAddressError::NoService);
            }
            let hosts = several(SENTINEL_PORT)?;
            Ok((RedisPlace::Sentinels { hosts, service }, database(path)?))
        }
        Kind::Server => Ok((RedisPlace::Server(host(servers, PORT)?), database(path)?)),
    }
}

fn database(text: &str) -> Result<u16, RedisAddressError> {
    match text {
        "" => Ok(0),
        number => number.parse().map_err(|_| RedisAddressError::Database),
    }
}

fn host(server: &str, usual: u16) -> Result<RedisHost, RedisAddressError> {
    let (host, after) = match server.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, after)) => (host, after),
        None => server.split_at(server.find(':').unwrap_or(server.len())),
    };
    let port = match after.strip_prefix(':') {
        Some(text) => text.parse().ok().filter(|port| *port > 0).ok_or(RedisAddressError::Port)?,
        None if after.is_empty() => usual,
        None => return Err(RedisAddressError::Port),
    };
    let host = decode(host)?;
    match host.is_empty() || host.contains(',') {
        true => Err(RedisAddressError::NoHost),
        false => Ok(RedisHost { host, port }),
    }
}

fn decode(text: &str) -> Result<String, RedisAddressError> {
    decoded(text).map(|text| text.to_string()).map_err(|_| RedisAddressError::Percent)
}

fn secret(text: &str) -> Result<Password, RedisAddressError> {
    decoded(text).map(Password::new).map_err(|_| RedisAddressError::Percent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<RedisAddress, RedisAddressError> {
        RedisAddress::parse(text, Path::new("/etc/tillgate"))
    }

    #[test]
    fn a_server_with_its_login_and_its_authorities_is_read() {
        let address = parse("rediss://till:p%3Aw@[2001:db8::1]:7000/3?ca=tls/redis.pem").unwrap();
        assert_eq!(address.to_string(), "[2001:db8::1]:7000/3");
        assert_eq!(address.user.as_deref(), Some("till"));
        assert_eq!(address.password.unwrap().expose(), "p:w");
        let root = address.tls.unwrap().root.unwrap();
        assert_eq!(root, Path::new("/etc/tillgate/tls/redis.pem"));
        let usual = parse("redis://:word@cache").unwrap();
        assert_eq!((usual.to_string().as_str(), usual.user), ("cache:6379/0", None));
        assert_eq!(usual.password.unwrap().expose(), "word");
    }

    #[test]
    fn sentinels_are_asked_for_a_service() {
        let address = parse("redis+sentinel://:a@s1,s2:7,s3/shop/2?sentinel_password=b").unwrap();
        assert_eq!(address.to_string(), "s1:26379,s2:7,s3:26379,shop/2");
        assert_eq!(address.sentinel_password.unwrap().expose(), "b");
        assert!(parse("redis+sentinel://localhost/shop").unwrap().is_exposed());
    }

    #[test]
    fn a_cluster_is_asked_by_any_of_its_servers() {
        let address = parse("rediss+cluster://u:a@c1,c2:7,[::1]?ca=redis.pem").unwrap();
        assert_eq!(address.to_string(), "c1:6379,c2:7,[::1]:6379,cluster");
        assert_eq!(address.tls.unwrap().root.unwrap(), Path::new("/etc/tillgate/redis.pem"));
        assert!(parse("redis+cluster://localhost/0").unwrap().is_exposed());
    }

    #[test]
    fn only_the_own_machine_is_trusted_without_encryption() {
        assert!(!parse("redis://localhost").unwrap().is_exposed());
        assert!(!parse("redis://[::1]:1/1").unwrap().is_exposed());
        assert!(parse("redis://cache").unwrap().is_exposed());
        assert!(!parse("rediss://cache").unwrap().is_exposed());
    }

    #[test]
    fn what_is_half_said_is_refused_and_shows_nothing() {
        let cases = [
            ("http://a", RedisAddressError::Scheme),
            ("a:6379", RedisAddressError::Scheme),
            ("redis://", RedisAddressError::NoHost),
            ("redis://a,b", RedisAddressError::NoHost),
            ("redis://a:0", RedisAddressError::Port),
            ("redis://[::1]x", RedisAddressError::Port),
            ("redis://a/b", RedisAddressError::Database),
            ("redis://:%4@a", RedisAddressError::Percent),
            ("redis://a?ca=b", RedisAddressError::Parameter),
            ("rediss://a?sentinel_password=b", RedisAddressError::Parameter),
            ("redis+cluster://a/1", RedisAddressError::ClusterDatabase),
            ("redis+cluster://a,", RedisAddressError::NoHost),
            ("redis+cluster://a?sentinel_password=b", RedisAddressError::Parameter),
            ("redis+sentinel://a", RedisAddressError::NoService),
            ("redis+sentinel://a,/b", RedisAddressError::NoHost),
        ];
        for (text, error) in cases {
            assert_eq!(parse(text).err(), Some(error), "{text}");
        }
        let shown = format!("{:?}", parse("redis://somebody:hidden@a").unwrap());
        assert!(!shown.contains("hidden") && !shown.contains("somebody"), "{shown}");
    }
}
