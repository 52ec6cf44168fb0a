//! Networks of clients and of the proxies before us.

use std::fs::File;
use std::io::Read as _;
use std::net::IpAddr;
use std::ops::Range;
use std::path::Path;

use ipnet::IpNet;

use super::compile::Compiler;
use super::problem::Problem;
use super::schema::{FileSchema, ForwardedHeaderSchema, NetworksSchema};
use super::source::At;
use crate::policy::{ForwardedField, Listed, NetworkLists, TrustedProxies};

/// The largest list that is read: a million networks of the longest kind.
const LIST_BYTES_MAX: u64 = 48 << 20;

/// The most lines of one list that are complained about: a wrong file has nothing but wrong lines.
const COMPLAINTS_MAX: usize = 10;

/// What a network looks like.
const AS_IN: &str = "write it as in \"192.0.2.0/24\" or \"2001:db8::/32\"";

impl Compiler<'_> {
    pub(super) fn trusted_proxies(&mut self, file: &FileSchema) -> TrustedProxies {
        let key = "trusted_proxies";
        let mut networks = Vec::new();
        for at in &file.trusted_proxies {
            let Some(network) = network(at.get()) else {
                let message = format!("{} is not a network", self.source.quote(&at.span()));
                self.refuse(&at.span(), key, message, "write it as in \"10.0.0.0/8\"");
                continue;
            };
            if network.prefix_len() == 0 {
                let remedy = "name the networks of your own proxies only";
                self.warn(&at.span(), key, "believes every client about its address", remedy);
            }
            networks.push(network);
        }
        let field = match file.forwarded_header.as_ref().map(At::get) {
            Some(ForwardedHeaderSchema::Forwarded) => ForwardedField::Forwarded,
            Some(ForwardedHeaderSchema::XForwardedFor) | None => ForwardedField::XForwardedFor,
        };
        TrustedProxies { networks, field }
    }

    pub(super) fn network_lists(&mut self, written: &NetworksSchema) -> NetworkLists {
        let allow = self.network_list("networks.allow", &written.allow);
        let deny = self.network_list("networks.deny", &written.deny);
        let allow = allow.into_iter().map(|network| (network, Listed::Allowed));
        NetworkLists::new(allow.chain(deny.into_iter().map(|network| (network, Listed::Denied))))
    }

    /// The networks of a list, and of the files that it names.
    pub(super) fn network_list(&mut self, key: &str, written: &[At<String>]) -> Vec<IpNet> {
        let mut networks = Vec::new();
        for at in written {
            if let Some(network) = network(at.get()) {
                self.warn_of_everybody(key, &at.span(), network);
                networks.push(network);
            } else if looks_like_network(at.get()) {
                let message = format!("{} is not a network", self.source.quote(&at.span()));
                self.refuse(&at.span(), key, message, AS_IN);
            } else {
                self.network_file(key, at, &mut networks);
            }
        }
        networks
    }

    fn network_file(&mut self, key: &str, at: &At<String>, networks: &mut Vec<IpNet>) {
        let Some(path) = self.readable(key, at) else { return };
        let mut bytes = Vec::new();
        let read = File::open(&path)
            .and_then(|file| file.take(LIST_BYTES_MAX + 1).read_to_end(&mut bytes));
        if read.is_err() || u64::try_from(bytes.len()).is_ok_and(|length| length > LIST_BYTES_MAX) {
            let message = format!("names a file that is larger than {LIST_BYTES_MAX} bytes");
            return self.refuse(&at.span(), key, message, "check the path");
        }
        let mut wrong = Vec::new();
        for (place, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            match entry(line) {
                Entry::Network(network) => {
                    self.warn_of_everybody(key, &at.span(), network);
                    networks.push(network);
                }
                Entry::Nothing => {}
                Entry::Wrong => wrong.push(place + 1),
            }
        }
        self.complain(key, &self.path_as_named(at), &wrong);
    }

    /// Tells of lines that are no networks, without quoting them: the wrong file may be a secret one.
    fn complain(&mut self, key: &str, path: &Path, wrong: &[usize]) {
        let problem = |line: usize, message: String| Problem {
            file: path.to_owned(),
            line,
            key: key.to_owned(),
            message,
            remedy: AS_IN.to_owned(),
        };
        let told = wrong.iter().take(COMPLAINTS_MAX);
        self.problems.extend(told.map(|line| problem(*line, "is not a network".to_owned())));
        let untold = wrong.len().saturating_sub(COMPLAINTS_MAX);
        if let Some(line) = wrong.get(COMPLAINTS_MAX) {
            let message = format!("is the first of {untold} more lines that are not networks");
            self.problems.push(problem(*line, message));
        }
    }

    fn warn_of_everybody(&mut self, key: &str, span: &Range<usize>, network: IpNet) {
        if network.prefix_len() == 0 {
            let message = format!("{network} is everybody");
            self.warn(span, key, message, "name smaller networks");
        }
    }
}

/// A line of a list.
enum Entry {
    Network(IpNet),
    Nothing,
    Wrong,
}

/// A network, and whatever follows `#`, or `;` as in the lists of Spamhaus.
fn entry(line: &[u8]) -> Entry {
    let line = line.split(|byte| matches!(byte, b'#' | b';')).next().unwrap_or_default();
    let line = line.trim_ascii();
    if line.is_empty() {
        return Entry::Nothing;
    }
    str::from_utf8(line).ok().and_then(network).map_or(Entry::Wrong, Entry::Network)
}

/// A network, or an address as the network of one.
fn network(text: &str) -> Option<IpNet> {
    let host = || text.parse::<IpAddr>().map(IpNet::from);
    text.parse::<IpNet>().or_else(|_| host()).ok()
}

/// Whether somebody meant a network, and not a file.
fn looks_like_network(text: &str) -> bool {
    let part = |byte: u8| byte.is_ascii_hexdigit() || matches!(byte, b'.' | b':' | b'/');
    text.bytes().all(part) && text.bytes().any(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_network_or_a_remark() {
        let network = |line: &str| match entry(line.as_bytes()) {
            Entry::Network(network) => Some(network.to_string()),
            Entry::Nothing | Entry::Wrong => None,
        };
        assert_eq!(network(" 192.0.2.0/24\r").as_deref(), Some("192.0.2.0/24"));
        assert_eq!(network("2001:db8::/32 ; SBL1").as_deref(), Some("2001:db8::/32"));
        assert_eq!(network("192.0.2.7#why").as_deref(), Some("192.0.2.7/32"));
        assert!(matches!(entry(b"# remark"), Entry::Nothing));
        assert!(matches!(entry(b" \r"), Entry::Nothing));
        assert!(matches!(entry(b"192.0.2.0/33"), Entry::Wrong));
        assert!(matches!(entry(b"\xff"), Entry::Wrong));
    }

    #[test]
    fn what_somebody_meant_as_a_network_is_not_taken_for_a_file() {
        for text in ["192.0.2.300", "192.0.2.0/33", "2001:db8::/129", "10/8", "::1::"] {
            assert!(network(text).is_none() && looks_like_network(text), "{text}");
        }
        for text in ["deny.txt", "/etc/tillgate/10.txt", "lists/drop_v6.txt"] {
            assert!(!looks_like_network(text), "{text}");
        }
    }
}
