//! The clients at full speed: curl looks at one answer, wrk (HTTP/1.1) and h2load (HTTP/2) ask for many.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::case::{Case, Post, Protocol};
use crate::failure::Failure;
use crate::folder::{Folder, Key};
use crate::program::Programs;

/// Few enough that their handshakes hardly count, enough to keep a worker busy.
const CONNECTIONS: &str = "32";
const HTTP2_CONNECTIONS: &str = "8";
const HTTP2_STREAMS: &str = "16";

/// How much longer than it was told a client may take.
const GRACE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(10);

/// Prints what [`wrk_answered`] reads.
const DONE: &str = "function done(summary, latency, requests)\n\
    local e = summary.errors\n\
    print('answered', summary.requests, summary.bytes, summary.duration,\n\
    e.connect + e.read + e.write + e.status + e.timeout)\nend\n";

/// Where the clients lie, and how long they go on.
pub(crate) struct Load<'a> {
    programs: &'a Programs,
    folder: &'a Folder,
    duration: Duration,
}

/// How many requests were answered, all of them well, and with how much.
pub(crate) struct Answered {
    pub(crate) requests: u32,
    pub(crate) bytes: u64,
    pub(crate) seconds: f64,
}

impl<'a> Load<'a> {
    pub(crate) fn new(programs: &'a Programs, folder: &'a Folder, duration: Duration) -> Self {
        Self { programs, folder, duration }
    }

    /// The body of one answer.
    pub(crate) fn answer(
        &self,
        url: &str,
        (protocol, post): (Protocol, Option<&Post>),
        key: Key,
    ) -> Result<Vec<u8>, Failure> {
        let mut command = Command::new(&self.programs.curl);
        command.args(["--silent", "--show-error", "--fail", "--max-time", "10"]);
        command.arg("--cacert").arg(self.folder.at(key.stem()).with_extension("pem"));
        if let Some(post) = post {
            command.args(["--data", post.body]);
            command.args(["--header", &format!("content-type: {}", post.kind)]);
        }
        command.args(match protocol {
            Protocol::Http2 if url.starts_with("https") => ["--http2", url],
            Protocol::Http1 | Protocol::Http2 => ["--http1.1", url],
        });
        self.finish(command, &self.programs.curl)
    }

    /// Asks as fast as it can.
    pub(crate) fn run(&self, url: &str, case: &Case) -> Result<Answered, Failure> {
        let seconds = self.duration.as_secs();
        let (mut command, program) = match case.protocol {
            Protocol::Http1 => {
                let mut command = Command::new(&self.programs.wrk);
                command.args(["-t", "1", "-c", CONNECTIONS, "-d", &format!("{seconds}s")]);
                command.arg("-s").arg(self.folder.write("wrk.lua", &script(case))?);
                (command, &self.programs.wrk)
            }
            Protocol::Http2 => {
                let mut command = Command::new(&self.programs.h2load);
                command.args(["-t", "1", "-c", HTTP2_CONNECTIONS, "-m", HTTP2_STREAMS]);
                command.args(["-D", &seconds.to_string()]);
                (command, &self.programs.h2load)
            }
        };
        command.arg(url);
        let said = String::from_utf8_lossy(&self.finish(command, program)?).into_owned();
        let answered = match case.protocol {
            Protocol::Http1 => wrk_answered(&said),
            Protocol::Http2 => h2load_answered(&said, self.duration),
        };
        answered.filter(|answered| answered.requests > 0).ok_or(Failure::Load { said })
    }

    /// What a client wrote; it is ended when it takes too long.
    fn finish(&self, mut command: Command, program: &Path) -> Result<Vec<u8>, Failure> {
        let file = self.folder.at("client.out");
        let out = std::fs::File::create(&file).map_err(Failure::io("write a file"))?;
        let err = out.try_clone().map_err(Failure::io("write a file"))?;
        command.env("OPENSSL_CONF", self.folder.at("client-tls.cnf"));
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        let mut child = command.spawn().map_err(Failure::io("start a client"))?;
        let limit = self.duration + GRACE;
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = child.try_wait().map_err(Failure::io("wait for a client"))? {
                let said = std::fs::read(&file).map_err(Failure::io("read a file"))?;
                let cry = || String::from_utf8_lossy(&said).into_owned();
                return if status.success() {
                    Ok(said)
                } else {
                    Err(Failure::Load { said: cry() })
                };
            }
            if Instant::now() > deadline {
                let _ = child.kill();
                let _ = child.wait();
                let program = PathBuf::from(program);
                return Err(Failure::Slow { program, seconds: limit.as_secs() });
            }
            std::thread::sleep(PAUSE);
        }
    }
}

fn script(case: &Case) -> String {
    let mut script = String::new();
    if let Some(post) = &case.post {
        script.push_str("wrk.method = \"POST\"\n");
        let _ = writeln!(script, "wrk.body = [[{}]]", post.body);
        let _ = writeln!(script, "wrk.headers[\"Content-Type\"] = \"{}\"", post.kind);
    }
    script + DONE
}

/// From `answered  81234  99887766  3000123  0`: requests, bytes, microseconds, errors.
fn wrk_answered(said: &str) -> Option<Answered> {
    let line = said.lines().find_map(|line| line.strip_prefix("answered"))?;
    let mut figures = line.split_whitespace();
    let requests = figures.next()?.parse().ok()?;
    let bytes = figures.next()?.parse().ok()?;
    let micros: f64 = figures.next()?.parse().ok()?;
    let errors: u64 = figures.next()?.parse().ok()?;
    (errors == 0).then_some(Answered { requests, bytes, seconds: micros / 1e6 })
}

/// From `requests: 9 total, 9 started, 9 done, 9 succeeded, 0 failed, 0 errored, 0 timeout`,
/// `status codes: 9 2xx, 0 3xx, 0 4xx, 0 5xx` and
/// `traffic: 1.21KB (1234) total, 72B (72) headers (space savings 95.00%), 1.00KB (1024) data`.
fn h2load_answered(said: &str, duration: Duration) -> Option<Answered> {
    let count = |prefix: &str, what: &str| -> Option<u32> {
        let line = said.lines().find_map(|line| line.strip_prefix(prefix))?;
        let part = line.split(',').find_map(|part| part.trim().strip_suffix(what))?;
        part.trim().parse().ok()
    };
    let failed = count("requests:", "failed")? + count("requests:", "errored")?;
    let requests = count("requests:", "succeeded")?;
    let traffic = said.lines().find_map(|line| line.strip_prefix("traffic:"))?;
    let bytes = traffic.rsplit_once('(')?.1.strip_suffix(") data")?.parse().ok()?;
    let well = failed == 0 && count("status codes:", "2xx")? >= requests;
    well.then_some(Answered { requests, bytes, seconds: duration.as_secs_f64() })
}
