//! The process under test.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::wire::Answer;
use super::{Client, H2, HOST, Identity, Tls, Upstream, Watched, canary, certificates};

/// How long what a process wrote may be on its way after its end.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// How long a shutdown may take: the drain of the tests' configurations is shorter.
const EXIT_DEADLINE: Duration = Duration::from_secs(40);

/// What a test's configuration adds to the common one: two client listeners (TLS and clear), the
/// admin listener, a certificate for [`HOST`] and its wildcard, one site.
#[derive(Default)]
pub(crate) struct Setup {
    data: Option<PathBuf>,
    top: String,
    listen: String,
    upstream: String,
    site: String,
    tables: String,
    without_certificate: bool,
    files: Vec<(String, String)>,
    variables: Vec<(String, String)>,
    program: Option<PathBuf>,
}

/// A running tillgate; ended, and searched for card numbers, when dropped.
pub(crate) struct Sidecar {
    folder: TempDir,
    data: PathBuf,
    program: PathBuf,
    variables: Vec<(String, String)>,
    log: Arc<Watched<Vec<Line>>>,
    process: Process,
}

/// A process that has been replaced.
pub(crate) struct Old(Arc<Watched<Option<ExitStatus>>>);

impl Old {
    /// Waits for its end.
    pub(crate) fn exit_status(&self) -> ExitStatus {
        let status = self.0.wait_within(EXIT_DEADLINE, |status| *status);
        status.unwrap_or_else(|| panic!("still running after {EXIT_DEADLINE:?}"))
    }
}

/// One line of the process.
#[derive(Clone, Debug)]
struct Line {
    source: Source,
    text: String,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Source {
    Stderr,
    Stdout,
}

#[derive(Clone)]
struct Process {
    pid: Pid,
    ended: Arc<Watched<Option<ExitStatus>>>,
    addresses: HashMap<String, SocketAddr>,
    /// How many lines there were before it started.
    first_line: usize,
}

impl Setup {
    pub(crate) fn new(upstream: &Upstream) -> Self {
        Self::to(&upstream.url())
    }

    /// In front of an origin that the test runs itself.
    pub(crate) fn to(url: &str) -> Self {
        Self::among(&[url])
    }

    /// In front of several.
    pub(crate) fn among(urls: &[&str]) -> Self {
        let list: Vec<_> = urls.iter().map(|url| format!("\"{url}\"")).collect();
        Self::servers(&list.join(", "))
    }

    /// In front of servers as a configuration lists them.
    pub(crate) fn servers(list: &str) -> Self {
        let mut setup = Self { upstream: list.to_owned(), ..Self::default() };
        let identity = Identity::new(&[HOST, &format!("*.{HOST}"), "localhost"]);
        setup = setup.file("tls/shop.pem", &identity.chain).file("tls/shop.key", &identity.key);
        setup.file("tls/ca.pem", certificates::authority_pem())
    }

    /// A folder for the vault and the audit log, in place of one that goes with the test.
    pub(crate) fn data(mut self, folder: &Path) -> Self {
        self.data = Some(folder.to_owned());
        self
    }

    /// Keys of the top level.
    pub(crate) fn top(mut self, lines: &str) -> Self {
        self.top += &format!("{lines}\n");
        self
    }

    /// Keys of the listener that speaks TLS.
    pub(crate) fn listen(mut self, lines: &str) -> Self {
        self.listen += &format!("{lines}\n");
        self
    }

    /// Keys of the site, then its `[[site.login]]` and `[[site.route]]` tables.
    pub(crate) fn site(mut self, lines: &str) -> Self {
        self.site += &format!("{lines}\n");
        self
    }

    /// Further tables.
    pub(crate) fn tables(mut self, lines: &str) -> Self {
        self.tables += &format!("{lines}\n");
        self
    }

    /// A gateway listener in front of this provider.
    pub(crate) fn gateway(self, name: &str, provider: &Upstream) -> Self {
        let upstream = provider.url();
        self.tables(&format!(
            "[[gateway]]\nname = \"{name}\"\nlisten = \"127.0.0.1:0\"\nupstream = \"{upstream}\"\n\
             ca = \"tls/ca.pem\""
        ))
    }

    /// The same, with further keys for the gateway.
    pub(crate) fn gateway_with(self, name: &str, provider: &Upstream, lines: &str) -> Self {
        self.gateway(name, provider).tables(lines)
    }

    /// A file beside the configuration.
    pub(crate) fn file(mut self, path: &str, text: &str) -> Self {
        self.files.push((path.to_owned(), text.to_owned()));
        self
    }

    /// A variable of the process's environment.
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Without the common certificate: whatever there is comes from elsewhere.
    pub(crate) fn without_certificate(mut self) -> Self {
        self.without_certificate = true;
        self
    }

    /// Another place of the program.
    pub(crate) fn program(mut self, path: &Path) -> Self {
        self.program = Some(path.to_owned());
        self
    }

    /// The configuration file's text.
    pub(crate) fn text(&self) -> String {
        let Self { data, top, listen, upstream, site, tables, .. } = self;
        let data = data.as_deref().unwrap_or(Path::new("data")).display();
        let certificate = match self.without_certificate {
            true => "",
            false => "[[certificate]]\nchain = \"tls/shop.pem\"\nkey = \"tls/shop.key\"\n",
        };
        format!(
            r#"data_dir = "{data}"
{top}
[admin]
listen = "127.0.0.1:0"

[[listen]]
address = "127.0.0.1:0"
tls = true
{listen}
[[listen]]
address = "127.0.0.1:0"

{certificate}
[[site]]
upstreams = [{upstream}]
{site}
{tables}"#
        )
    }

    pub(crate) fn start(&self) -> Sidecar {
        let folder = tempfile::tempdir().unwrap();
        // Some tests have the process become a user who must read this.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        for (path, text) in &self.files {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        std::fs::write(folder.path().join("tillgate.toml"), self.text()).unwrap();
        let log = Arc::default();
        let variables = self.variables.clone();
        let program = self.program.clone();
        let program = program.unwrap_or_else(|| env!("CARGO_BIN_EXE_tillgate").into());
        let process = Process::start((&program, folder.path()), &variables, &log);
        let data = folder.path().join(self.data.as_deref().unwrap_or(Path::new("data")));
        Sidecar { folder, data, program, variables, log, process }
    }
}

impl Sidecar {
    /// In front of this origin, with these further tables.
    pub(crate) fn start(upstream: &Upstream, tables: &str) -> Self {
        Setup::new(upstream).tables(tables).start()
    }

    pub(crate) fn address(&self, role: &str) -> SocketAddr {
        let known = &self.process.addresses;
        *known.get(role).unwrap_or_else(|| panic!("nothing listens as {role}: {known:?}"))
    }

    /// An HTTP/1.1 connection without TLS.
    pub(crate) fn http(&self) -> Client {
        Client::plain(self.address("http"))
    }

    /// An HTTP/1.1 connection over TLS.
    pub(crate) fn https(&self) -> Client {
        Tls::new(HOST).connect(self.address("https")).unwrap()
    }

    /// An HTTP/2 connection.
    pub(crate) fn h2(&self) -> H2 {
        H2::connect(self.address("https"), HOST)
    }

    /// A connection as the shop makes it to a gateway listener.
    pub(crate) fn gateway(&self, name: &str) -> Client {
        Client::plain(self.address(&format!("gateway {name}")))
    }

    /// One request to the admin listener.
    pub(crate) fn admin(&self, path: &str) -> Answer {
        Client::plain(self.address("admin")).get(path)
    }

    pub(crate) fn metrics(&self) -> String {
        self.admin("/metrics").text()
    }

    /// The sum of every series of a metric whose labels hold all of `labels`.
    pub(crate) fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let page = self.metrics();
        let series = page.lines().filter(|line| {
            let rest = line.strip_prefix(name).unwrap_or_default();
            rest.starts_with(['{', ' ']) && labels.iter().all(|label| rest.contains(label))
        });
        series.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.data.clone()
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("tillgate.toml")
    }

    /// Replaces the configuration in place.
    pub(crate) fn write_config(&self, text: &str) {
        std::fs::write(self.config(), text).unwrap();
    }

    /// A place in the log, for `wait_for_log`.
    pub(crate) fn mark(&self) -> usize {
        self.log.lock().len()
    }

    /// The first operational line with this message after a mark.
    pub(crate) fn wait_for_log(&self, mark: usize, message: &str) -> Value {
        let found = self.log.wait_for(|lines| find(&lines[mark..], message));
        found.unwrap_or_else(|| panic!("no \"{message}\" in {}", self.written()))
    }

    /// The first so many operational lines with this message after a mark.
    pub(crate) fn wait_for_logs(
        &self,
        mark: usize,
        message: &str,
        count: usize,
        patience: Duration,
    ) -> Vec<Value> {
        let found = self.log.wait_within(patience, |lines| {
            let each = lines[mark..].iter();
            let found = each.filter_map(|line| find(std::slice::from_ref(line), message));
            let found: Vec<_> = found.take(count).collect();
            (found.len() == count).then_some(found)
        });
        found.unwrap_or_else(|| panic!("not {count} times \"{message}\" in {}", self.written()))
    }

    /// How many operational lines after a mark have this message.
    pub(crate) fn log_count(&self, mark: usize, message: &str) -> usize {
        let lines = self.log.lock();
        lines[mark..]
            .iter()
            .filter(|line| find(std::slice::from_ref(line), message).is_some())
            .count()
    }

    /// The first access line that `is_it` accepts.
    pub(crate) fn wait_for_access(&self, is_it: impl Fn(&str) -> bool) -> Value {
        let found = self.log.wait_for(|lines| {
            let mut access = lines.iter().filter(|line| line.source == Source::Stdout);
            access.find(|line| is_it(&line.text)).map(|line| line.text.clone())
        });
        let line = found.unwrap_or_else(|| panic!("no such access line in {}", self.written()));
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// Everything the process wrote to its two outputs.
    pub(crate) fn written(&self) -> String {
        self.log.lock().iter().map(|line| format!("{}\n", line.text)).collect()
    }

    /// The number of the process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// How much memory the process has used at its height.
    pub(crate) fn memory_peak_kib(&self) -> u64 {
        let pid = self.process.pid.as_raw_nonzero();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches("kB").trim().parse().unwrap()
    }

    pub(crate) fn sighup(&self) {
        self.process.signal(Signal::HUP);
    }

    pub(crate) fn sigusr2(&self) {
        // Whom the old process leaves behind is ours to wait for.
        rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
        self.process.signal(Signal::USR2);
    }

    /// Replaces the program; gives the old process, which is ending.
    pub(crate) fn upgrade(&mut self) -> Old {
        let mark = self.mark();
        self.sigusr2();
        self.adopt(mark)
    }

    /// Follows the program that was asked for after a mark.
    pub(crate) fn adopt(&mut self, mark: usize) -> Old {
        let told = self.wait_for_log(mark, "upgraded");
        let pid = i32::try_from(told["process"].as_i64().unwrap()).unwrap();
        let pid = Pid::from_raw(pid).unwrap();
        let old = Arc::clone(&self.process.ended);
        let ended: Arc<Watched<Option<ExitStatus>>> = Arc::default();
        let (parent, slot) = (Arc::clone(&old), Arc::clone(&ended));
        thread::spawn(move || {
            while parent.wait_for(|status| *status).is_none() {}
            let waited = rustix::process::waitpid(Some(pid), WaitOptions::empty());
            let status = waited.unwrap().unwrap().1;
            slot.update(|slot| *slot = Some(ExitStatus::from_raw(status.as_raw())));
        });
        self.process = Process { pid, ended, ..self.process.clone() };
        // It says so after it has begun to serve.
        let ready = self.log.wait_for(|lines| {
            lines[mark..].iter().any(|line| line.text.contains("\"ready\"")).then_some(())
        });
        ready.unwrap();
        Old(old)
    }

    pub(crate) fn sigterm(&self) {
        self.process.signal(Signal::TERM);
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill9(&self) {
        self.process.signal(Signal::KILL);
        self.exit_status();
    }

    /// Waits for the end.
    pub(crate) fn exit_status(&self) -> ExitStatus {
        let status = self.process.ended.wait_within(EXIT_DEADLINE, |status| *status);
        status.unwrap_or_else(|| panic!("still running after {EXIT_DEADLINE:?}"))
    }

    /// Starts it again and ends it as a power cut would, at whatever point of its start `moment`
    /// has passed.
    pub(crate) fn kill9_while_starting(&mut self, moment: impl FnOnce()) {
        let place = (self.program.as_path(), self.folder.path());
        self.process = Process::spawn(place, &self.variables, &self.log);
        moment();
        self.kill9();
    }

    /// Starts it again on the same files.
    pub(crate) fn restart(&mut self) {
        if self.process.ended.lock().is_none() {
            self.sigterm();
            self.exit_status();
        }
        let place = (self.program.as_path(), self.folder.path());
        self.process = Process::start(place, &self.variables, &self.log);
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        if thread::panicking() {
            self.process.signal(Signal::KILL);
            let _ = self.process.ended.wait_for(|status| *status);
            report(&self.written());
            return;
        }
        let mut written = Vec::new();
        if self.process.ended.lock().is_none() {
            written.push(("the metrics page", self.metrics().into_bytes()));
            self.sigterm();
            let status = self.process.ended.wait_within(EXIT_DEADLINE, |status| *status);
            if status.is_none() {
                self.process.signal(Signal::KILL);
            }
            assert!(status.is_some(), "still running after {EXIT_DEADLINE:?}");
        }
        written.push(("what the process wrote", self.written().into_bytes()));
        canary::check(&self.data(), &written);
    }
}

impl Process {
    fn start(
        place: (&Path, &Path),
        variables: &[(String, String)],
        log: &Arc<Watched<Vec<Line>>>,
    ) -> Self {
        let mut process = Self::spawn(place, variables, log);
        process.await_ready(log);
        process
    }

    fn spawn(
        (program, folder): (&Path, &Path),
        variables: &[(String, String)],
        log: &Arc<Watched<Vec<Line>>>,
    ) -> Self {
        let first_line = log.lock().len();
        let mut child = Command::new(program)
            .args(["run", "--config"])
            .arg(folder.join("tillgate.toml"))
            .envs(variables.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let readers = [
            follow(child.stdout.take().unwrap(), Source::Stdout, log),
            follow(child.stderr.take().unwrap(), Source::Stderr, log),
        ];
        let pid = Pid::from_child(&child);
        let ended: Arc<Watched<Option<ExitStatus>>> = Arc::default();
        reap(child, readers, &ended, log);
        Self { pid, ended, addresses: HashMap::new(), first_line }
    }

    fn await_ready(&mut self, log: &Watched<Vec<Line>>) {
        let ready = log.wait_for(|lines| {
            let ended = self.ended.lock().is_some();
            match find(&lines[self.first_line..], "ready") {
                Some(_) => Some(true),
                None => ended.then_some(false),
            }
        });
        let lines = log.lock();
        if ready != Some(true) {
            self.signal(Signal::KILL);
            let all: String = lines.iter().map(|line| format!("{}\n", line.text)).collect();
            panic!("tillgate did not become ready:\n{all}");
        }
        for line in &lines[self.first_line..] {
            let Ok(value) = serde_json::from_str::<Value>(&line.text) else { continue };
            if value["message"] != "listening" {
                continue;
            }
            let role = match value["name"].as_str() {
                Some(name) => format!("gateway {name}"),
                None => value["role"].as_str().unwrap().to_owned(),
            };
            let address = value["address"].as_str().unwrap().parse().unwrap();
            self.addresses.insert(role, address);
        }
    }

    fn signal(&self, signal: Signal) {
        // The lock keeps the process from being reaped, and its id from being another's.
        if self.ended.lock().is_none() {
            let _ = kill_process(self.pid, signal);
        }
    }
}

fn find(lines: &[Line], message: &str) -> Option<Value> {
    lines.iter().filter(|line| line.source == Source::Stderr).find_map(|line| {
        let value: Value = serde_json::from_str(&line.text).ok()?;
        (value["message"] == message).then_some(value)
    })
}

fn follow(
    pipe: impl Read + Send + 'static,
    source: Source,
    log: &Arc<Watched<Vec<Line>>>,
) -> thread::JoinHandle<()> {
    let log = Arc::clone(log);
    thread::spawn(move || {
        let mut reader = BufReader::new(pipe);
        let mut bytes = Vec::new();
        while reader.read_until(b'\n', &mut bytes).is_ok_and(|count| count > 0) {
            let text = String::from_utf8_lossy(&bytes).trim_end().to_owned();
            log.update(|lines| lines.push(Line { source, text }));
            bytes.clear();
        }
    })
}

/// Waits for the process and then for its last words.
fn reap(
    mut child: Child,
    readers: [thread::JoinHandle<()>; 2],
    ended: &Arc<Watched<Option<ExitStatus>>>,
    log: &Arc<Watched<Vec<Line>>>,
) {
    let (ended, log) = (Arc::clone(ended), Arc::clone(log));
    thread::spawn(move || {
        let status = child.wait().unwrap();
        // Its last words; not those of one that has taken its place and writes to the same pipes.
        for reader in readers {
            let end = Instant::now() + LAST_WORDS;
            while !reader.is_finished() && Instant::now() < end {
                thread::yield_now();
            }
        }
        ended.update(|slot| *slot = Some(status));
        // Wakes who waits for a line that will not come.
        log.update(|_| ());
    });
}

fn report(written: &str) {
    eprintln!("tillgate wrote:\n{written}");
}
