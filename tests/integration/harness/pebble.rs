//! A certificate authority of a test's own (Pebble), with a name server that knows every name.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use super::{Identity, Relay, Tls, Watched};

/// It makes RSA keys first, which takes its time on a busy machine.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// How a test wants its authority.
pub(crate) struct PebbleSetup {
    /// How long certificates hold.
    pub(crate) valid_s: u32,
    /// Of a hundred nonces, so many are refused although they are good (RFC 8555 §6.5).
    pub(crate) bad_nonces: u32,
    /// Whether accounts must be bound to this key: its id and its text in base64.
    pub(crate) bound: Option<(&'static str, &'static str)>,
}

/// A running authority, reached through a relay; ended when dropped.
pub(crate) struct Pebble {
    /// What leads to it.
    pub(crate) relay: Relay,
    /// Where it looks for proofs: these ports of this machine, whatever the name.
    pub(crate) http: u16,
    pub(crate) tls: u16,
    /// Where the name server is told of records.
    pub(crate) dns_admin: u16,
    admin: u16,
    folder: TempDir,
    pebble: Program,
    _names: Program,
}

struct Program {
    child: Child,
    lines: Arc<Watched<Vec<String>>>,
}

impl Default for PebbleSetup {
    fn default() -> Self {
        Self { valid_s: 3600, bad_nonces: 25, bound: None }
    }
}

impl PebbleSetup {
    /// `None`, said loudly, where Pebble is not installed.
    pub(crate) fn start(&self) -> Option<Pebble> {
        let program = super::program("pebble")?;
        let folder = tempfile::tempdir().unwrap();
        Identity::new(&["localhost", "127.0.0.1"]).write(folder.path(), "pebble");
        let [acme, admin, http, tls, dns_admin] = free_ports();
        let dns = free_port_of_both_kinds();
        let bound = self.bound.map(|(id, key)| serde_json::json!({ id: key }));
        let config = serde_json::json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{acme}"),
            "managementListenAddress": format!("127.0.0.1:{admin}"),
            "certificate": folder.path().join("pebble.pem"),
            "privateKey": folder.path().join("pebble.key"),
            "httpPort": http,
            "tlsPort": tls,
            "certificateValidityPeriod": self.valid_s,
            "externalAccountBindingRequired": bound.is_some(),
            "externalAccountMACKeys": bound.unwrap_or(serde_json::json!({})),
        }});
        std::fs::write(folder.path().join("pebble.json"), config.to_string()).unwrap();
        let names = Program::start(
            Command::new("pebble-challtestsrv")
                .args(["-defaultIPv6", "", "-http01", "", "-https01", "", "-tlsalpn01", ""])
                .args(["-dns01", &format!("127.0.0.1:{dns}")])
                .args(["-management", &format!("127.0.0.1:{dns_admin}")]),
            "Starting management server",
        );
        let pebble = Program::start(
            Command::new(program)
                .args(["-dnsserver", &format!("127.0.0.1:{dns}"), "-config"])
                .arg(folder.path().join("pebble.json"))
                .env("PEBBLE_VA_NOSLEEP", "1")
                .env("PEBBLE_AUTHZREUSE", "0")
                .env("PEBBLE_WFE_NONCEREJECT", self.bad_nonces.to_string()),
            "ACME directory available at",
        );
        let relay = Relay::to(acme);
        Some(Pebble { relay, http, tls, dns_admin, admin, folder, pebble, _names: names })
    }
}

impl Pebble {
    /// The tables of a configuration that asks it, by `challenge`, for `names`, where it looks.
    pub(crate) fn tables(&self, names: &[&str], challenge: &str) -> String {
        let Self { http, tls, .. } = self;
        format!(
            "[[listen]]\naddress = \"127.0.0.1:{http}\"\nredirect_to_https = true\n\
             [[listen]]\naddress = \"127.0.0.1:{tls}\"\ntls = true\n\
             [[certificate]]\nacme = [\"pebble\"]\nnames = {names:?}\n{}",
            self.authority("pebble", challenge),
        )
    }

    /// Its own table.
    pub(crate) fn authority(&self, name: &str, challenge: &str) -> String {
        let port = self.relay.port();
        format!(
            "[[acme]]\nname = \"{name}\"\ndirectory = \"https://localhost:{port}/dir\"\n\
             terms_agreed = true\nca = \"tls/ca.pem\"\nretry = \"1s\"\nchallenge = \"{challenge}\"\n"
        )
    }

    /// A client that trusts what it issues.
    pub(crate) fn client(&self, name: &str) -> Tls {
        let admin: SocketAddr = ([127, 0, 0, 1], self.admin).into();
        let mut client = Tls::new("localhost").connect(admin).unwrap();
        let root = client.get("/roots/0").text();
        Tls::trusting(&root, name, rustls::ALL_VERSIONS, &[b"http/1.1"])
    }

    pub(crate) fn tls_address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.tls).into()
    }

    pub(crate) fn http_address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.http).into()
    }

    /// How many certificates it has issued.
    pub(crate) fn issued(&self) -> usize {
        self.count("Issued certificate serial")
    }

    /// How many lines of its log say this.
    pub(crate) fn count(&self, text: &str) -> usize {
        self.pebble.lines.lock().iter().filter(|line| line.contains(text)).count()
    }

    /// A hook that changes the name server's records, and writes down what it did; with the file in
    /// which it does. Whoever it runs as may do so.
    pub(crate) fn hook(&self) -> (std::path::PathBuf, std::path::PathBuf) {
        use std::os::unix::fs::PermissionsExt as _;
        let (script, done) = (self.folder.path().join("hook"), self.folder.path().join("done"));
        let (admin, file) = (self.dns_admin, done.display());
        let text = format!(
            "#!/bin/sh\nset -eu\n\
             echo \"$TILLGATE_ACME_ACTION $TILLGATE_ACME_NAME\" >> {file}\n\
             case $TILLGATE_ACME_ACTION in\n\
             present) curl -fsS -d \"{{\\\"host\\\":\\\"$TILLGATE_ACME_NAME.\\\",\\\"value\\\":\\\"$TILLGATE_ACME_VALUE\\\"}}\" http://127.0.0.1:{admin}/set-txt ;;\n\
             cleanup) curl -fsS -d \"{{\\\"host\\\":\\\"$TILLGATE_ACME_NAME.\\\"}}\" http://127.0.0.1:{admin}/clear-txt ;;\n\
             esac\n"
        );
        std::fs::write(&script, text).unwrap();
        std::fs::write(&done, "").unwrap();
        for (path, mode) in [(self.folder.path(), 0o755), (&script, 0o755), (&done, 0o666)] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        (script, done)
    }
}

impl Program {
    fn start(command: &mut Command, ready: &str) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut program = Self { child: command.spawn().unwrap(), lines: Arc::default() };
        let Self { child, lines } = &mut program;
        follow(child.stdout.take().unwrap(), lines);
        follow(child.stderr.take().unwrap(), lines);
        let said =
            |lines: &Vec<String>| lines.iter().any(|line| line.contains(ready)).then_some(());
        let found = lines.wait_within(START_DEADLINE, said);
        assert!(found.is_some(), "{:?}", lines.lock());
        program
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn follow(pipe: impl Read + Send + 'static, lines: &Arc<Watched<Vec<String>>>) {
    let lines = Arc::clone(lines);
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            lines.update(|lines| lines.push(line));
        }
    });
}

/// Held all at once, so that they differ.
pub(crate) fn free_ports<const N: usize>() -> [u16; N] {
    let held = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    held.map(|listener| listener.local_addr().unwrap().port())
}

fn free_port_of_both_kinds() -> u16 {
    loop {
        let [port] = free_ports();
        if std::net::UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
