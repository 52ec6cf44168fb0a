//! The addresses we listen on, what each is for, and how TLS is spoken there.
//!
//! An address is known by what the file says of it, not by what it came to be: a reload and an upgrade
//! keep the socket of one that is still named, with every client that waits there.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use tracing::{error, info};

use super::inherited::Inherited;
use super::{Addresses, AppError};
use crate::config::Startup;
use crate::policy::{ListenKey, Live};
use crate::proxy::{Leave, Proxy, Role};
use crate::reload::Listening;
use crate::server::{Bound, Kind, ListenError, Share, WorkerHandle};
use crate::telemetry::ListenerRole;
use crate::tls::{Acceptor, Identities, Listeners};

/// An address as the file names it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Place {
    pub(super) purpose: Purpose,
    pub(super) asked: SocketAddr,
    /// How many before it are written alike: only those that let the system choose a port.
    pub(super) repeat: usize,
}

/// What is done with who comes there.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) enum Purpose {
    Admin,
    Forward,
    Gateway(String),
    Listen,
}

/// What may be said of an address beside where it is.
#[derive(Clone, Copy)]
struct Manner {
    tls: bool,
    redirect: bool,
    proxy_protocol: bool,
}

/// An address where connections are accepted, or soon will be.
struct Door {
    place: Place,
    manner: Manner,
    bound: Bound,
    kind: Arc<Live<Kind>>,
    leave: Leave,
    /// Whether nobody is accepted for now.
    resting: watch::Sender<bool>,
}

/// Every listening socket.
pub(super) struct Sockets {
    pub(super) admin: Bound,
    admin_asked: SocketAddr,
    doors: Vec<Door>,
    /// Of a reload that is not yet in force.
    fresh: Vec<Door>,
    /// All that the reload names.
    wanted: Vec<(Place, Manner)>,
    workers: Vec<WorkerHandle>,
    workers_max: usize,
    listeners: Arc<Listeners>,
    identities: Arc<Live<Identities>>,
    proxy: Arc<Proxy>,
    leave: Leave,
    tasks: TaskTracker,
    runtime: Handle,
}

/// The same, for the reloader and for who hands them on.
#[derive(Clone)]
pub(super) struct SharedSockets(pub(super) Arc<Mutex<Sockets>>);

impl Sockets {
    /// Listens everywhere; nothing is accepted yet.
    pub(super) fn bind(
        startup: &Startup,
        (identities, proxy, listeners): (&Arc<Live<Identities>>, &Arc<Proxy>, &Arc<Listeners>),
        mut inherited: Inherited,
        (leave, runtime): (Leave, Handle),
    ) -> Result<Self, AppError> {
        let cores = std::thread::available_parallelism();
        let workers_max = startup.workers.map_or_else(|| cores.map_or(1, Into::into), Into::into);
        let admin = Place { purpose: Purpose::Admin, asked: startup.admin, repeat: 0 };
        let mut sockets = Self {
            admin: listen(&admin, 1, &mut inherited)?,
            admin_asked: startup.admin,
            doors: Vec::new(),
            fresh: Vec::new(),
            wanted: Vec::new(),
            workers: Vec::new(),
            workers_max,
            listeners: Arc::clone(listeners),
            identities: Arc::clone(identities),
            proxy: Arc::clone(proxy),
            leave,
            tasks: TaskTracker::new(),
            runtime,
        };
        sockets.open(startup, &mut inherited)?;
        inherited.all_taken()?;
        Ok(sockets)
    }

    /// How many threads are to serve them.
    pub(super) fn workers_max(&self) -> usize {
        self.workers_max
    }

    /// Accepts with these threads.
    pub(super) fn accept(&mut self, workers: Vec<WorkerHandle>) {
        self.workers = workers;
        let metrics = &self.proxy.services().metrics;
        metrics.listening(ListenerRole::Admin, None, self.admin.address);
        self.put_in_force(Duration::ZERO);
    }

    /// Every place with its sockets.
    pub(super) fn each(&self) -> impl Iterator<Item = (Place, &[TcpListener])> {
        let admin = Place { purpose: Purpose::Admin, asked: self.admin_asked, repeat: 0 };
        let doors = self.doors.iter().map(|door| (door.place.clone(), door.bound.sockets()));
        doors.chain([(admin, self.admin.sockets())])
    }

    /// Accepts nobody, for a while: who comes waits, or is another's.
    pub(super) fn rest(&self) {
        self.doors.iter().for_each(|door| _ = door.resting.send_replace(true));
    }

    /// Accepts again, with the very sockets: where files are wanting there would be no others.
    pub(super) fn resume(&self) {
        self.doors.iter().for_each(|door| _ = door.resting.send_replace(false));
    }

    /// Lets go of all of them.
    pub(super) fn close(&mut self) {
        self.doors.clear();
        self.fresh.clear();
    }

    /// Where we listen, with the ports the system chose.
    pub(super) fn addresses(&self) -> Addresses {
        let mut addresses = Addresses {
            https: Vec::new(),
            http: Vec::new(),
            admin: self.admin.address,
            gateways: Vec::new(),
            forward: None,
        };
        for Door { place, manner, bound, .. } in self.doors.iter().chain(&self.fresh) {
            match &place.purpose {
                Purpose::Admin => {}
                Purpose::Forward => addresses.forward = Some(bound.address),
                Purpose::Gateway(name) => addresses.gateways.push((name.clone(), bound.address)),
                Purpose::Listen if manner.tls => addresses.https.push(bound.address),
                Purpose::Listen => addresses.http.push(bound.address),
            }
        }
        addresses
    }

    /// Binds what the file names and is not open.
    fn open(&mut self, startup: &Startup, inherited: &mut Inherited) -> Result<(), ListenError> {
        self.fresh.clear();
        self.wanted = wanted(startup);
        let mut fresh = Vec::new();
        for (place, manner) in &self.wanted {
            if self.doors.iter().any(|door| door.place == *place) {
                continue;
            }
            let bound = listen(place, self.workers_max, inherited)?;
            let kind = Kind { role: Role::Site, tls: None, proxy_protocol: manner.proxy_protocol };
            let (kind, leave) = (Arc::new(Live::new(kind)), self.leave.part());
            let (place, manner, resting) = (place.clone(), *manner, watch::Sender::new(false));
            fresh.push(Door { place, manner, bound, kind, leave, resting });
        }
        self.fresh = fresh;
        Ok(())
    }

    fn put_in_force(&mut self, grace: Duration) {
        let (stay, go): (Vec<_>, Vec<_>) = std::mem::take(&mut self.doors)
            .into_iter()
            .partition(|door| self.wanted.iter().any(|(place, _)| *place == door.place));
        go.into_iter().for_each(|door| door.end(grace, (&self.tasks, &self.runtime)));
        let fresh = std::mem::take(&mut self.fresh);
        let first_fresh = stay.len();
        self.doors = stay.into_iter().chain(fresh).collect();
        for door in &mut self.doors {
            let found = self.wanted.iter().find(|(place, _)| *place == door.place);
            door.manner = found.map_or(door.manner, |(_, manner)| *manner);
        }
        // Before anybody is accepted: what a newcomer is taken for must be known.
        let https = self.doors.iter().find(|door| door.is_https());
        let https = https.map_or(443, |door| door.bound.address.port());
        for door in &self.doors {
            door.kind.publish(self.kind(door, https));
        }
        for door in self.doors.iter().skip(first_fresh) {
            door.accept(&self.workers);
            let role = door.kind.peek().role.listener(door.manner.tls);
            let name = match &door.place.purpose {
                Purpose::Gateway(name) => Some(name.as_str()),
                Purpose::Admin | Purpose::Forward | Purpose::Listen => None,
            };
            self.proxy.services().metrics.listening(role, name, door.bound.address);
        }
    }

    fn kind(&self, door: &Door, https: u16) -> Kind {
        let Manner { tls, redirect, proxy_protocol } = door.manner;
        let key = ListenKey { address: door.place.asked, repeat: door.place.repeat };
        let own = || tls.then(|| self.listeners.acceptor(key));
        let (role, tls) = match &door.place.purpose {
            Purpose::Forward => (Role::Forward, None),
            Purpose::Gateway(name) => {
                let (name, kept): (Arc<str>, _) =
                    (name.as_str().into(), door.kind.peek().tls.clone());
                let made = || gateway_tls(&name, &self.identities, &self.proxy);
                let tls = tls.then(|| kept.unwrap_or_else(made));
                (Role::Gateway(name), tls)
            }
            Purpose::Admin | Purpose::Listen if redirect => (Role::RedirectToHttps(https), own()),
            Purpose::Admin | Purpose::Listen => (Role::Site, own()),
        };
        Kind { role, tls, proxy_protocol }
    }
}

impl Listening for SharedSockets {
    fn prepare(&mut self, startup: &Startup) -> Result<(), Box<dyn std::error::Error>> {
        Ok(self.0.lock().open(startup, &mut Inherited::nothing())?)
    }

    fn commit(&mut self, grace: Duration) {
        self.0.lock().put_in_force(grace);
    }
}

impl Door {
    fn is_https(&self) -> bool {
        self.place.purpose == Purpose::Listen && self.manner.tls
    }

    /// Each worker accepts there.
    fn accept(&self, workers: &[WorkerHandle]) {
        for (index, worker) in workers.iter().enumerate() {
            match self.bound.sockets_of(index, workers.len()) {
                Ok(sockets) => sockets.into_iter().for_each(|socket| {
                    let (kind, leave) = (Arc::clone(&self.kind), self.leave.clone());
                    let resting = self.resting.subscribe();
                    worker.listen(Share { kind, leave, resting, socket });
                }),
                Err(error) => {
                    let address = self.bound.address;
                    error!(%error, %address, "a worker cannot listen");
                }
            }
        }
    }

    /// Accepts no more; its connections are told at once, and once more when the grace is over.
    fn end(self, grace: Duration, (tasks, runtime): (&TaskTracker, &Handle)) {
        info!(address = %self.bound.address, "no longer listening");
        self.leave.closing.cancel();
        let hurry = self.leave.hurry;
        if let Purpose::Gateway(_) = self.place.purpose {
            // Nobody stays where calls may have been admitted by other rules.
            return hurry.cancel();
        }
        let later = async move {
            tokio::time::sleep(grace).await;
            hurry.cancel();
        };
        tasks.spawn_on(later, runtime);
    }
}

fn wanted(startup: &Startup) -> Vec<(Place, Manner)> {
    let mut wanted: Vec<(Place, Manner)> = Vec::new();
    let mut want = |purpose: Purpose, asked: SocketAddr, manner: Manner| {
        let alike =
            |(place, _): &&(Place, Manner)| (&place.purpose, place.asked) == (&purpose, asked);
        let repeat = wanted.iter().filter(alike).count();
        wanted.push((Place { purpose, asked, repeat }, manner));
    };
    for listen in &startup.listens {
        let manner = Manner {
            tls: listen.tls,
            redirect: listen.redirect_to_https,
            proxy_protocol: listen.proxy_protocol,
        };
        want(Purpose::Listen, listen.address, manner);
    }
    for gateway in &startup.gateways {
        let manner = Manner { tls: gateway.tls, redirect: false, proxy_protocol: false };
        want(Purpose::Gateway(gateway.name.to_string()), gateway.address, manner);
    }
    if let Some(address) = startup.forward {
        let manner = Manner { tls: false, redirect: false, proxy_protocol: false };
        want(Purpose::Forward, address, manner);
    }
    wanted
}

/// Takes the sockets that somebody opened for us, or opens some.
fn listen(place: &Place, count: usize, inherited: &mut Inherited) -> Result<Bound, ListenError> {
    match inherited.take(place) {
        sockets if sockets.is_empty() => Bound::new(place.asked, count),
        sockets => Bound::adopt(place.asked, sockets),
    }
}

/// How TLS is spoken at a gateway's address, as the policy in force demands at each handshake.
fn gateway_tls(
    name: &Arc<str>,
    identities: &Arc<Live<Identities>>,
    proxy: &Arc<Proxy>,
) -> Arc<Acceptor> {
    let (name, proxy) = (Arc::clone(name), Arc::clone(proxy));
    Arc::new(Acceptor::of_gateway(Arc::clone(identities), move || proxy.callers(&name)))
}
