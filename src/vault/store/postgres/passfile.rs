//! The password file of libpq (PostgreSQL 15 documentation, section 34.16).
//!
//! Read here and not by the client library, which quotes a malformed line in its warning.

use std::env;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use tracing::warn;
use zeroize::Zeroizing;

use crate::policy::{Password, PostgresAddress, PostgresHost};

/// The largest file that is read.
const FILE_BYTES_MAX: usize = 1 << 20;

/// The password for this role on this server, from `PGPASSFILE` or `~/.pgpass`.
pub(super) fn password(address: &PostgresAddress, host: &PostgresHost) -> Option<Password> {
    let named = env::var_os("PGPASSFILE").map(PathBuf::from);
    let path = named.or_else(|| env::home_dir().map(|home| home.join(".pgpass")))?;
    let file = File::open(&path).ok()?;
    let mode = file.metadata().ok()?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        let path = path.display();
        warn!(%path, mode = format!("{mode:04o}"), "password file is open to others: not used");
        return None;
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_BYTES_MAX));
    let limit = u64::try_from(FILE_BYTES_MAX).unwrap_or(u64::MAX);
    file.take(limit).read_to_end(&mut bytes).ok()?;
    find(str::from_utf8(&bytes).ok()?, address, host)
}

/// The first line that fits: `host:port:database:user:password`, where `*` is anything.
fn find(text: &str, address: &PostgresAddress, host: &PostgresHost) -> Option<Password> {
    let (name, port) = match host {
        PostgresHost::Socket { folder, port } => (folder.to_str()?, port),
        PostgresHost::Tcp { host, port } => (host.as_str(), port),
    };
    let port = port.to_string();
    let wanted = [name, port.as_str(), address.database.as_str(), address.user.as_str()];
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| password_of(line, wanted)).next()
}

fn password_of(line: &str, wanted: [&str; 4]) -> Option<Password> {
    let mut rest = line;
    for field in wanted {
        let (written, after) = field_of(rest)?;
        if *written != "*" && *written != field {
            return None;
        }
        rest = after;
    }
    // Colons in the password need no escape.
    Some(Password::new(unescaped(rest)))
}

/// A field and what stands behind its colon; `\` keeps the next character from being one.
fn field_of(line: &str) -> Option<(Zeroizing<String>, &str)> {
    let mut escaped = false;
    for (place, letter) in line.char_indices() {
        if letter == ':' && !escaped {
            let (field, rest) = line.split_at_checked(place)?;
            return Some((unescaped(field), rest.strip_prefix(':')?));
        }
        escaped = letter == '\\' && !escaped;
    }
    None
}

fn unescaped(text: &str) -> Zeroizing<String> {
    let mut plain = Zeroizing::new(String::with_capacity(text.len()));
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        plain.push(if letter == '\\' { letters.next().unwrap_or('\\') } else { letter });
    }
    plain
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn found(text: &str, address: &str) -> Option<String> {
        let address = PostgresAddress::parse(address, Path::new("/")).unwrap();
        find(text, &address, &address.hosts[0]).map(|password| password.expose().to_owned())
    }

    #[test]
    fn the_first_line_that_fits_has_the_password() {
        let text = "# a comment\nbroken\nother:*:*:*:no\ndb:5433:*:*:no\n\
                    db:5432:va\\:ult:till:p:a\\:s\\\\s\n*:*:*:*:later";
        assert_eq!(found(text, "postgres://till@db/va%3Ault").unwrap(), "p:a:s\\s");
        assert_eq!(found(text, "postgres://till@db/vault").unwrap(), "later");
        assert_eq!(found("/run/pg:*:*:*:word", "postgres://a@/b?host=/run/pg").unwrap(), "word");
        assert_eq!(found("db:*:*:*:word", "postgres://a@db2/b"), None);
    }
}
