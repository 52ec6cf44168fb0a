//! The whole binary on real sockets: what is asserted is what the other side really received.
//!
//! Every test starts a process of its own on ports of its own. When its [`harness::Sidecar`] is
//! dropped, everything the process wrote and everything the shop received is searched for the card
//! numbers of the test; one hit fails it.

#[cfg(test)]
mod access;
#[cfg(test)]
mod acme;
#[cfg(test)]
mod balancer;
#[cfg(test)]
mod card_testing;
#[cfg(test)]
mod cluster;
#[cfg(test)]
mod commands;
#[cfg(test)]
mod confine;
#[cfg(test)]
mod conformance;
#[cfg(test)]
mod conformance_h2;
#[cfg(test)]
mod demo;
#[cfg(test)]
mod devices;
#[cfg(test)]
mod drain;
#[cfg(test)]
mod early;
#[cfg(test)]
mod encoded;
#[cfg(test)]
mod formats;
#[cfg(test)]
mod forward;
#[cfg(test)]
mod fsync;
#[cfg(test)]
mod gateway;
#[cfg(test)]
mod greedy;
#[cfg(test)]
mod guard;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod heads;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod hostile_h2;
#[cfg(test)]
mod inspect;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod kills;
#[cfg(test)]
mod learn;
#[cfg(test)]
mod lockout;
#[cfg(test)]
mod login;
#[cfg(test)]
mod metrics;
#[cfg(test)]
mod names;
#[cfg(test)]
mod networks;
#[cfg(test)]
mod operator;
#[cfg(test)]
mod outages;
#[cfg(test)]
mod pages;
#[cfg(test)]
mod paths;
#[cfg(test)]
mod postgres;
#[cfg(test)]
mod presets;
#[cfg(test)]
mod proof;
#[cfg(test)]
mod proxy;
#[cfg(test)]
mod redact;
#[cfg(test)]
mod redis;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod replay;
#[cfg(test)]
mod response_headers;
#[cfg(test)]
mod seen;
#[cfg(test)]
mod succession;
#[cfg(test)]
mod suspicion;
#[cfg(test)]
mod systemd;
#[cfg(test)]
mod thirdparty;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod tls_clients;
#[cfg(test)]
mod tokenize;
#[cfg(test)]
mod transfers;
#[cfg(test)]
mod upgrade;
#[cfg(test)]
mod upstreams;
#[cfg(test)]
mod upstreams_h2;
#[cfg(test)]
mod vault;
#[cfg(test)]
mod webhook;
#[cfg(test)]
mod websocket;
#[cfg(test)]
mod websocket_h2;
