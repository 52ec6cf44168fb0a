//! The file as written → what requests consult, or everything that is wrong with it.
//!
//! Each part notes its problems and goes on with a default, so that one run names them all; what
//! was compiled is used only when there were none.

use std::collections::HashSet;
use std::num::NonZeroU64;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use super::cards::Choices;
use super::environment::Lookup;
use super::problem::Problem;
use super::response_headers::HeaderChoices;
use super::schema::{FileSchema, LimitsSchema, TimeoutsSchema};
use super::sites::Base;
use super::source::{At, Source};
use super::startup::Startup;
use crate::policy::{
    AcmePolicy, ByteRate, CertificateFiles, ConnectionLimits, Limits, LoginLimits, Snapshot,
    Timeouts, TrustedDevice,
};

/// What has been noted on the way.
pub(super) struct Compiler<'a> {
    pub(super) source: &'a Source<'a>,
    pub(super) lookup: Lookup<'a>,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
    /// Every file that is read, to be watched.
    pub(super) files: Files,
    /// Whether a listener without `[[certificate]]` gets one that is made up.
    pub(super) self_signed: bool,
}

/// Files in the order in which they were first named; there may be tens of thousands.
#[derive(Default)]
pub(super) struct Files {
    pub(super) in_order: Vec<PathBuf>,
    known: HashSet<PathBuf>,
}

/// What a file says, compiled.
pub(super) struct Compiled {
    pub(super) startup: Startup,
    pub(super) snapshot: Snapshot,
    pub(super) certificates: Vec<CertificateFiles>,
    pub(super) acme: AcmePolicy,
}

impl<'a> Compiler<'a> {
    /// Before anything has been read.
    pub(super) fn of(source: &'a Source<'a>, lookup: Lookup<'a>) -> Self {
        let (problems, warnings, files) = (Vec::new(), Vec::new(), Files::default());
        Self { source, lookup, problems, warnings, files, self_signed: false }
    }
}

impl Compiler<'_> {
    /// Compiles all of it; `None` when there were problems, now or before.
    pub(super) fn compile(&mut self, file: &FileSchema) -> Option<Compiled> {
        let startup = self.startup(file);
        let certificates = self.certificates(&file.certificate);
        let acme = self.acme(file);
        let limits = self.login_limits("login", &file.login, &LoginLimits::default());
        let signals = self.signals(&file.login, limits.mode);
        let device = signals.trusted_device.as_ref().map(TrustedDevice::limit);
        let login = LoginLimits { device: device.unwrap_or_default(), ..limits };
        let base = Base {
            choices: self.cards("cards", &file.cards, &Choices::new()),
            limits: self.limits("limits", &file.limits, &Limits::default()),
            login: login.clone(),
            headers: self.header_choices("headers", &file.headers, &HeaderChoices::new(file)),
        };
        let snapshot = Snapshot {
            sites: self.sites(file, &base),
            gateways: self.gateways(file, &base),
            webhooks: Vec::new(),
            forward: self.forward_policy(file),
            trusted_proxies: self.trusted_proxies(file),
            login: Arc::new(login),
            signals,
            networks: self.network_lists(&file.networks),
            proof_of_work: self.proof_of_work(&file.proof_of_work),
            pages: self.pages(&file.pages),
            timeouts: self.timeouts(&file.timeouts, &file.limits),
            doors: self.connection_limits(&file.limits),
            tls: self.tls(file),
        };
        let webhooks = self.webhooks(&file.webhook, &snapshot.sites);
        let snapshot = Snapshot { webhooks, ..snapshot };
        // A part that was taken out is missing for a reason that is already told.
        if self.problems.is_empty() {
            self.demand_enough(file);
        }
        self.problems.is_empty().then_some(())?;
        Some(Compiled { startup: startup?, snapshot, certificates, acme })
    }

    /// Has a file watched, whether it is there or not.
    pub(super) fn follow(&mut self, path: PathBuf) {
        if self.files.known.insert(path.clone()) {
            self.files.in_order.push(path);
        }
    }

    pub(super) fn refuse(
        &mut self,
        span: &Range<usize>,
        key: &str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.problems.push(self.source.problem(span, key, message, remedy));
    }

    pub(super) fn warn(
        &mut self,
        span: &Range<usize>,
        key: &str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.warnings.push(self.source.problem(span, key, message, remedy));
    }

    /// The file as a whole must serve something.
    fn demand_enough(&mut self, file: &FileSchema) {
        let tls = file.listen.iter().find(|listen| is(listen.get().tls.as_ref()));
        let tls = tls.and_then(|listen| listen.get().tls.as_ref()).map(|at| ("listen.tls", at));
        let gateways = file.gateway.iter().filter_map(|gateway| gateway.get().tls.as_ref());
        let gateway = gateways.map(|at| ("gateway.tls", at)).find(|(_, at)| *at.get());
        if let Some((key, at)) = tls.or(gateway)
            && file.certificate.is_empty()
            && !self.self_signed
        {
            let remedy = "add a [[certificate]] with `chain` and `key`";
            self.refuse(&at.span(), key, "is true, but there is no certificate", remedy);
        }
        if let Some(site) = file.site.first().filter(|_| file.listen.is_empty()) {
            let remedy = "add a [[listen]] with an `address`";
            self.refuse(&site.span(), "site", "cannot be reached: nothing listens", remedy);
        }
        if let Some(listen) = file.listen.first().filter(|_| file.site.is_empty()) {
            let remedy = "add a [[site]] with `upstreams`";
            self.refuse(&listen.span(), "listen", "has no site to serve", remedy);
        }
        if file.listen.is_empty() && file.site.is_empty() && file.gateway.is_empty() {
            let remedy = "add a [[listen]] and a [[site]], or a [[gateway]]";
            self.refuse(&(0..0), "", "there is nothing to serve", remedy);
        }
    }

    pub(super) fn limits(&mut self, table: &str, written: &LimitsSchema, base: &Limits) -> Limits {
        let key = |name: &str| format!("{table}.{name}");
        let body = written.body.as_ref();
        let decoded = written.decoded.as_ref();
        let body_max = self.size(&key("body"), body, base.request_body_bytes_max);
        // Who only asks for larger bodies means decoded ones too.
        let decoded_max = base.decoded_body_bytes_max.max(body_max);
        let limits = Limits {
            request_body_bytes_max: body_max,
            decoded_body_bytes_max: self.size(&key("decoded"), decoded, decoded_max),
            decoded_ratio_max: written
                .ratio
                .as_ref()
                .map_or(base.decoded_ratio_max, |at| at.get().get()),
            cards_per_body_max: written
                .cards
                .as_ref()
                .map_or(base.cards_per_body_max, |at| at.get().get()),
            blocks_body_bytes_max: self.size(
                &key("block_body"),
                written.block_body.as_ref(),
                base.blocks_body_bytes_max,
            ),
        };
        if let Some(at) = decoded
            && limits.decoded_body_bytes_max < limits.request_body_bytes_max
        {
            let message = "leaves less room for a decoded body than for one as it arrives";
            let remedy = "make `decoded` at least as large as `body`";
            self.refuse(&at.span(), &key("decoded"), message, remedy);
        }
        limits
    }

    /// What holds for the whole process is no key of a route.
    pub(super) fn refuse_process_limits(&mut self, table: &str, written: &LimitsSchema) {
        let counts = [
            ("connections", &written.connections),
            ("connections_per_network", &written.connections_per_network),
            ("handshakes", &written.handshakes),
            ("requests", &written.requests),
        ];
        let spans = counts.map(|(name, at)| (name, at.as_ref().map(At::span)));
        let texts = [("client_rate", &written.client_rate), ("held", &written.held)];
        let texts = texts.map(|(name, at)| (name, at.as_ref().map(At::span)));
        for (name, span) in spans.into_iter().chain(texts) {
            let Some(span) = span else { continue };
            let message = "holds for the whole process, and not for some paths";
            self.refuse(&span, &format!("{table}.{name}"), message, "move it to [limits]");
        }
    }

    fn timeouts(&mut self, written: &TimeoutsSchema, limits: &LimitsSchema) -> Timeouts {
        let base = Timeouts::default();
        let rate = base.client_rate.0;
        let rate = self.size("limits.client_rate", limits.client_rate.as_ref(), rate.get());
        let mut read = |name: &str, at: &Option<At<String>>, default| {
            self.duration(&format!("timeouts.{name}"), at.as_ref(), default)
        };
        Timeouts {
            connect: read("connect", &written.connect, base.connect),
            handshake: read("handshake", &written.handshake, base.handshake),
            request_head: read("request_head", &written.request_head, base.request_head),
            request_body_idle: read(
                "request_body_idle",
                &written.request_body_idle,
                base.request_body_idle,
            ),
            response_head: read("response_head", &written.response_head, base.response_head),
            response_body_idle: read(
                "response_body_idle",
                &written.response_body_idle,
                base.response_body_idle,
            ),
            client_write: read("client_write", &written.client_write, base.client_write),
            client_rate: NonZeroU64::new(rate).map_or(base.client_rate, ByteRate),
            keep_alive: read("keep_alive", &written.keep_alive, base.keep_alive),
            upgrade_idle: read("upgrade_idle", &written.upgrade_idle, base.upgrade_idle),
            drain: read("drain", &written.drain, base.drain),
            upgrade: read("upgrade", &written.upgrade, base.upgrade),
        }
    }

    fn connection_limits(&mut self, written: &LimitsSchema) -> ConnectionLimits {
        let base = ConnectionLimits::default();
        let read = |at: &Option<At<_>>, default| at.as_ref().map_or(default, |at| *at.get());
        ConnectionLimits {
            connections_max: read(&written.connections, base.connections_max),
            per_network_max: read(&written.connections_per_network, base.per_network_max),
            handshakes_max: read(&written.handshakes, base.handshakes_max),
            requests_max: read(&written.requests, base.requests_max),
            held_bytes_max: self.size("limits.held", written.held.as_ref(), base.held_bytes_max),
        }
    }
}

/// Whether a key says true.
pub(super) fn is(at: Option<&At<bool>>) -> bool {
    at.is_some_and(|at| *at.get())
}
