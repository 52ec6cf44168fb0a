//! The program under callgrind.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::client::Identity;
use crate::server::{Server, free_address};

/// One process whose every instruction is counted.
pub(crate) struct Counted {
    server: Server,
    address: SocketAddr,
    out: PathBuf,
    dumps: u32,
}

/// What it is told to do.
pub(crate) struct Config<'a> {
    pub(crate) identity: &'a Identity,
    pub(crate) origin: SocketAddr,
    pub(crate) rest: &'a str,
}

/// What one request took.
#[derive(Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) instructions: u64,
    pub(crate) allocations: f64,
}

impl Counted {
    /// Starts it with one worker, and waits until it listens.
    pub(crate) fn start(
        program: &Path,
        folder: &Path,
        Config { identity, origin, rest }: &Config<'_>,
    ) -> io::Result<Self> {
        let (address, admin) = (free_address()?, free_address()?);
        let config = folder.join("tillgate.toml");
        let text = format!(
            "data_dir = \"data\"\nworkers = 1\n[admin]\nlisten = \"{admin}\"\n\
             [[listen]]\naddress = \"{address}\"\ntls = true\n\
             [[certificate]]\nchain = {:?}\nkey = {:?}\n\
             [[site]]\nupstreams = [\"http://{origin}\"]\n{rest}",
            identity.chain, identity.key
        );
        std::fs::write(&config, text)?;
        let out = folder.join("callgrind.out");
        let mut command = Command::new("valgrind");
        command.args(["--tool=callgrind", "--vgdb=yes", "-q"]);
        command.arg(format!("--callgrind-out-file={}", out.display()));
        command.arg(program).args(["run", "--config"]).arg(config);
        let server = Server::start(&mut command, address, &folder.join("log"));
        let server = server.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => io::Error::other("apt-get install valgrind"),
            _ => error,
        })?;
        Ok(Self { server, address, out, dumps: 0 })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Counts from here on.
    pub(crate) fn forget(&mut self) -> io::Result<()> {
        self.dump().map(|_counts| ())
    }

    /// What was executed since, for each of so many requests.
    pub(crate) fn cost(&mut self, times: u32) -> io::Result<Cost> {
        let counts = self.dump()?;
        let missing = || io::Error::other("callgrind wrote no totals");
        let total = counts.lines().find_map(|line| line.strip_prefix("totals: "));
        let total: u64 = total.and_then(|it| it.trim().parse().ok()).ok_or_else(missing)?;
        let instructions = total / u64::from(times);
        Ok(Cost { instructions, allocations: f64::from(allocations(&counts)) / f64::from(times) })
    }

    fn dump(&mut self) -> io::Result<String> {
        self.dumps += 1;
        let mut control = Command::new("callgrind_control");
        control.arg("--dump").arg(self.server.process().to_string()).stdout(Stdio::null());
        let status = control.stdin(Stdio::null()).stderr(Stdio::null()).status()?;
        if !status.success() {
            return Err(io::Error::other("callgrind_control cannot reach the program"));
        }
        let mut name = self.out.clone().into_os_string();
        name.push(format!(".{}", self.dumps));
        std::fs::read_to_string(name)
    }
}

/// How often the allocator was called from outside: `fn=` names the caller, `cfn=` whom the next `calls=`
/// is of, `(7) name` at first and `(7)` from then on.
fn allocations(counts: &str) -> u32 {
    let mut names = HashMap::new();
    let (mut caller_is_allocator, mut callee_allocates, mut sum) = (false, false, 0);
    for line in counts.lines() {
        if let Some(function) = line.strip_prefix("fn=") {
            caller_is_allocator = is_allocator(named(&mut names, function));
        } else if let Some(function) = line.strip_prefix("cfn=") {
            callee_allocates = allocates(named(&mut names, function));
        } else if let Some(calls) = line.strip_prefix("calls=")
            && callee_allocates
            && !caller_is_allocator
        {
            sum += calls.split(' ').next().and_then(|it| it.parse::<u32>().ok()).unwrap_or(0);
        }
    }
    sum
}

fn named<'a>(names: &mut HashMap<&'a str, &'a str>, function: &'a str) -> &'a str {
    match function.split_once(' ') {
        Some((number, name)) => names.entry(number).insert_entry(name).get(),
        None => names.get(function).copied().unwrap_or_default(),
    }
}

fn is_allocator(name: &str) -> bool {
    ["mi_", "_mi_"].iter().any(|prefix| name.starts_with(prefix))
}

fn allocates(name: &str) -> bool {
    is_allocator(name)
        && ["malloc", "zalloc", "calloc", "realloc"].iter().any(|what| name.contains(what))
}
