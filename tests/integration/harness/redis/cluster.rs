//! A cluster of a test's own: three primaries that share the slots, and a replica of each.

use std::time::Instant;

use super::{DEADLINE, Redis};

/// The slots of each primary.
const SHARES: [(u16, u16); 3] = [(0, 5460), (5461, 10922), (10923, 16383)];

/// Long enough for a busy machine to keep its primaries, short enough to wait for.
const TIMEOUT_MS: u32 = 2000;

/// A running cluster; ended when dropped.
pub(crate) struct Cluster {
    servers: Vec<Redis>,
}

impl Cluster {
    /// A new, empty cluster of servers with these lines in their configuration.
    pub(crate) fn start(settings: &str) -> Option<Self> {
        let settings = format!(
            "cluster-enabled yes\ncluster-port {{port+1}}\ncluster-node-timeout {TIMEOUT_MS}\n\
             {settings}"
        );
        let servers = (0..2 * SHARES.len()).map(|_| Redis::start(&settings));
        let cluster = Self { servers: servers.collect::<Option<_>>()? };
        cluster.join();
        Some(cluster)
    }

    /// The address that names all servers.
    pub(crate) fn url(&self) -> String {
        let port = |server: &Redis| format!("127.0.0.1:{}", server.port());
        let all: Vec<_> = self.servers.iter().map(port).collect();
        format!("redis+cluster://{}", all.join(","))
    }

    /// The servers, primaries first as long as nothing has failed.
    pub(crate) fn servers(&self) -> &[Redis] {
        &self.servers
    }

    /// Ends the server that takes writes for keys with this tag, once its replicas have all of them.
    pub(crate) fn kill_primary(&mut self, keys: &str) {
        let place = self.primary(keys).unwrap();
        until("everything is copied", || {
            let info = self.servers[place].cli(&["INFO", "replication"]);
            let offset = |key| info.split(key).nth(1)?.split([',', '\r']).next();
            offset("master_repl_offset:") == offset("offset=")
        });
        self.servers[place].kill9();
    }

    /// Has a replica take over from the primary of these keys, as an operator does before work on it.
    pub(crate) fn hand_over(&self, keys: &str) {
        let primary = self.myself(self.primary(keys).unwrap())[0].clone();
        let follows = |place: &usize| {
            let myself = self.myself(*place);
            myself[2].contains("slave") && myself[3] == primary
        };
        let replica = (0..self.servers.len()).find(follows).unwrap();
        assert_eq!(self.servers[replica].cli(&["CLUSTER", "FAILOVER"]), "OK");
        until("the replica takes over", || self.primary(keys) == Some(replica));
    }

    fn join(&self) {
        let (primaries, replicas) = self.servers.split_at(SHARES.len());
        for (primary, (first, last)) in primaries.iter().zip(SHARES) {
            let range = [first.to_string(), last.to_string()];
            primary.cli(&["CLUSTER", "ADDSLOTSRANGE", &range[0], &range[1]]);
        }
        for server in &self.servers {
            let bus = server.cli(&["CONFIG", "GET", "cluster-port"]);
            let bus = bus.lines().last().unwrap();
            let port = server.port().to_string();
            self.servers[0].cli(&["CLUSTER", "MEET", "127.0.0.1", &port, bus]);
        }
        let known = format!("cluster_known_nodes:{}", self.servers.len());
        self.all("know each other", |server| server.cli(&["CLUSTER", "INFO"]).contains(&known));
        for (replica, primary) in replicas.iter().zip(primaries) {
            let id = primary.cli(&["CLUSTER", "MYID"]);
            until("a replica follows", || replica.cli(&["CLUSTER", "REPLICATE", &id]) == "OK");
        }
        self.all("are well", |server| {
            let nodes = server.cli(&["CLUSTER", "NODES"]);
            let replicas = nodes.lines().filter(|node| node.contains("slave")).count();
            let info = server.cli(&["INFO", "replication"]);
            replicas == SHARES.len()
                && server.cli(&["CLUSTER", "INFO"]).contains("cluster_state:ok")
                && (info.contains("role:master") || info.contains("master_link_status:up"))
        });
    }

    fn all(&self, what: &str, so: impl Fn(&Redis) -> bool) {
        self.servers.iter().for_each(|server| until(what, || so(server)));
    }

    fn primary(&self, keys: &str) -> Option<usize> {
        let slot: u16 = self.servers.iter().find_map(|it| slot(it, keys)).unwrap();
        let keeps = |place: &usize| {
            let myself = self.myself(*place);
            let ranges = myself.iter().skip(8).filter_map(|range| range.split_once('-'));
            let mut ranges = ranges.map(|(first, last)| (first.parse(), last.parse()));
            ranges.any(|range| match range {
                (Ok(first), Ok(last)) => (first..=last).contains(&slot),
                _ => false,
            })
        };
        (0..self.servers.len()).find(keeps)
    }

    /// What a server says of itself: its name, address, flags and primary, and from the ninth word on
    /// its slots. Nothing from a dead one.
    fn myself(&self, place: usize) -> Vec<String> {
        let nodes = self.servers[place].cli(&["CLUSTER", "NODES"]);
        let line = nodes.lines().find(|line| line.contains("myself")).unwrap_or_default();
        let mut words: Vec<_> = line.split(' ').map(str::to_owned).collect();
        words.resize(words.len().max(8), String::new());
        words
    }
}

fn slot(server: &Redis, keys: &str) -> Option<u16> {
    server.cli(&["CLUSTER", "KEYSLOT", keys]).parse().ok()
}

fn until(what: &str, mut so: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !so() {
        assert!(Instant::now() < end, "never happened: {what}");
        std::thread::yield_now();
    }
}
