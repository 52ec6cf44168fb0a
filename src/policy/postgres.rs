//! Where a PostgreSQL database is, and who we are to it.
//!
//! The form is libpq's (PostgreSQL 15 documentation, section 34.1.1.2). What is shown of an address
//! is its hosts and its database: the rest may hold a password.

mod parts;

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use thiserror::Error;
use zeroize::Zeroizing;

use self::parts::{Parameters, decoded, hosts};

/// PostgreSQL's own port.
const PORT: u16 = 5432;

/// A database, and how to log in to it.
#[derive(Eq, PartialEq)]
pub struct PostgresAddress {
    /// The servers, tried in this order until one takes writes; never empty.
    pub hosts: Vec<PostgresHost>,
    /// The role.
    pub user: String,
    /// Its password, unless `PGPASSWORD` or a password file has it.
    pub password: Option<Password>,
    /// The database.
    pub database: String,
    /// Whether and how connections are encrypted.
    pub tls: PostgresTls,
}

/// One server.
#[derive(Clone, Eq, PartialEq)]
pub enum PostgresHost {
    /// A Unix socket of this machine.
    Socket {
        /// The folder it lies in.
        folder: PathBuf,
        /// The port that is part of its name.
        port: u16,
    },
    /// A name or an address.
    Tcp {
        /// Without brackets.
        host: String,
        /// Its port.
        port: u16,
    },
}

/// A password. Wiped when dropped; cannot be printed or cloned.
#[derive(Eq, PartialEq)]
pub struct Password(Zeroizing<String>);

/// How connections are encrypted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PostgresTls {
    /// What is asked of the server.
    pub mode: PostgresTlsMode,
    /// PEM of the authorities that the server's certificate may come from.
    pub root: Option<PathBuf>,
    /// PEM of our certificate and of its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// What is asked of the server before a word of ours is sent; names as in libpq.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PostgresTlsMode {
    /// No encryption.
    Disable,
    /// Encryption if it has it, by whatever certificate.
    Prefer,
    /// Encryption, by whatever certificate.
    Require,
    /// Encryption, by a certificate in its own name from a known authority.
    VerifyFull,
}

/// What is wrong with a written address. Holds nothing of it.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum PostgresAddressError {
    /// Something is half said.
    #[error("has a `sslcert` without its `sslkey`, or the reverse")]
    Identity,
    /// No database.
    #[error("names no database")]
    NoDatabase,
    /// No server.
    #[error("names no server")]
    NoHost,
    /// No role.
    #[error("names no user")]
    NoUser,
    /// An unknown parameter.
    #[error("has a parameter that is not known")]
    Parameter,
    /// A `%` that begins no byte.
    #[error("has a `%` that is not followed by two hex digits")]
    Percent,
    /// A port out of range.
    #[error("has no such port")]
    Port,
    /// Not the address of a PostgreSQL database.
    #[error("does not begin with postgres://")]
    Scheme,
    /// A server that takes no writes is of no use.
    #[error("asks for a server that need not take writes")]
    SessionAttributes,
    /// An encryption that is none of those there are.
    #[error("has no such `sslmode`")]
    TlsMode,
    /// The client library would take any public authority's certificate, whoever it names.
    #[error("asks for a certificate of whatever name")]
    VerifyCa,
}

impl PostgresAddress {
    /// Reads `postgres://user:password@host:port,host:port/database?sslmode=…`; relative paths
    /// start at `folder`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, PostgresAddressError> {
        let schemes = ["postgres://", "postgresql://"];
        let rest = schemes.iter().find_map(|scheme| text.strip_prefix(scheme));
        let rest = rest.ok_or(PostgresAddressError::Scheme)?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let parameters = Parameters::parse(query)?;
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, servers) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = match login.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (login, None),
        };
        let hosts = hosts(servers, &parameters)?;
        let address = Self {
            tls: parameters.tls(&hosts, folder)?,
            hosts,
            user: decoded(user)?.to_string(),
            password: password.map(|text| decoded(text).map(Password)).transpose()?,
            database: decoded(database)?.to_string(),
        };
        if address.user.is_empty() {
            return Err(PostgresAddressError::NoUser);
        }
        if address.database.is_empty() {
            return Err(PostgresAddressError::NoDatabase);
        }
        Ok(address)
    }

    /// Whether what is said could be read, or answered, by somebody on the way.
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        self.tls.mode != PostgresTlsMode::VerifyFull
            && !self.hosts.iter().all(PostgresHost::is_local)
    }
}

impl PostgresHost {
    /// Whether it can only be this machine.
    fn is_local(&self) -> bool {
        match self {
            Self::Socket { .. } => true,
            Self::Tcp { host, .. } => {
                let address = host.parse::<IpAddr>();
                address.map_or(host.eq_ignore_ascii_case("localhost"), |it| it.is_loopback())
            }
        }
    }
}

impl Password {
    /// Takes over a text.
    #[must_use]
    pub fn new(text: Zeroizing<String>) -> Self {
        Self(text)
    }

    /// The text, for the login of the vault's store only.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl PostgresTlsMode {
    /// The name used in configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyFull => "verify-full",
        }
    }
}

impl PostgresAddressError {
    /// What to do about it.
    #[must_use]
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Identity => "give both, or none",
            Self::NoDatabase | Self::NoHost | Self::NoUser | Self::Scheme => {
                "write it as in \"postgres://user@host:5432/database\""
            }
            Self::Parameter => {
                "those known are sslmode, sslrootcert, sslcert, sslkey, host, port and \
                 target_session_attrs"
            }
            Self::Percent => {
                "write `%` as %25, and `@`, `:`, `/` and `?` of a password as %40, %3A, %2F and %3F"
            }
            Self::Port => "write a port from 1 to 65535",
            Self::SessionAttributes => "leave target_session_attrs out, or write read-write",
            Self::TlsMode => "write disable, prefer, require or verify-full",
            Self::VerifyCa => {
                "write sslmode=verify-full, with the server's name as its certificate has it"
            }
        }
    }
}

impl fmt::Display for PostgresAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, host) in self.hosts.iter().enumerate() {
            if place > 0 {
                f.write_str(",")?;
            }
            write!(f, "{host}")?;
        }
        write!(f, "/{}", self.database)
    }
}

impl fmt::Debug for PostgresAddress {
    /// As it is shown: the login stays hidden.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for PostgresHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket { folder, port } => write!(f, "{}:{port}", folder.display()),
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<PostgresAddress, PostgresAddressError> {
        PostgresAddress::parse(text, Path::new("/etc/tillgate"))
    }

    fn mode(text: &str) -> PostgresTlsMode {
        parse(text).unwrap().tls.mode
    }

    #[test]
    fn an_address_is_read_as_libpq_reads_it() {
        let address =
            parse("postgres://till%40gate:p%3Aw@db1:5433,[::1],db2/vault?sslrootcert=ca.pem");
        let address = address.unwrap();
        assert_eq!(address.to_string(), "db1:5433,[::1]:5432,db2:5432/vault");
        assert_eq!(address.user, "till@gate");
        assert_eq!(address.password.unwrap().expose(), "p:w");
        assert_eq!(address.tls.mode, PostgresTlsMode::VerifyFull);
        assert_eq!(address.tls.root.unwrap(), Path::new("/etc/tillgate/ca.pem"));
        for socket in
            ["postgresql://a@%2Frun%2Fpg:5433/b", "postgres://a@/b?host=/run/pg&port=5433"]
        {
            assert_eq!(parse(socket).unwrap().to_string(), "/run/pg:5433/b");
        }
    }

    #[test]
    fn only_the_own_machine_is_trusted_without_a_certificate() {
        assert_eq!(mode("postgres://a@db/b"), PostgresTlsMode::VerifyFull);
        assert_eq!(mode("postgres://a@localhost,db/b"), PostgresTlsMode::VerifyFull);
        assert_eq!(mode("postgres://a@localhost,[::1],127.0.0.1/b"), PostgresTlsMode::Prefer);
        assert_eq!(mode("postgres://a@/b?host=/run/pg"), PostgresTlsMode::Prefer);
        assert_eq!(mode("postgres://a@db/b?sslmode=require"), PostgresTlsMode::Require);
        assert!(parse("postgres://a@db/b?sslmode=require").unwrap().is_exposed());
        assert!(!parse("postgres://a@localhost/b?sslmode=disable").unwrap().is_exposed());
    }

    #[test]
    fn what_is_half_said_or_not_to_be_had_is_refused() {
        let cases = [
            ("mysql://a@b/c", PostgresAddressError::Scheme),
            ("postgres://b/c", PostgresAddressError::NoUser),
            ("postgres://a@/c", PostgresAddressError::NoHost),
            ("postgres://a@b,/c", PostgresAddressError::NoHost),
            ("postgres://a@b", PostgresAddressError::NoDatabase),
            ("postgres://a@b:0/c", PostgresAddressError::Port),
            ("postgres://a@[::1]x/c", PostgresAddressError::Port),
            ("postgres://a:%4@b/c", PostgresAddressError::Percent),
            ("postgres://a:%ff@b/c", PostgresAddressError::Percent),
            ("postgres://a@b/c?sslmode=verify-ca", PostgresAddressError::VerifyCa),
            ("postgres://a@b/c?sslmode=require&sslrootcert=d", PostgresAddressError::VerifyCa),
            ("postgres://a@b/c?sslmode=allow", PostgresAddressError::TlsMode),
            ("postgres://a@b/c?sslcert=d", PostgresAddressError::Identity),
            ("postgres://a@b/c?target_session_attrs=any", PostgresAddressError::SessionAttributes),
            ("postgres://a@b/c?user=d", PostgresAddressError::Parameter),
        ];
        for (text, error) in cases {
            assert_eq!(parse(text).err(), Some(error), "{text}");
        }
    }

    #[test]
    fn a_shown_address_has_no_login() {
        let address = parse("postgres://somebody:hidden@db/vault").unwrap();
        let shown = format!("{address} {address:?}");
        assert!(!shown.contains("hidden") && !shown.contains("somebody"), "{shown}");
    }
}
