//! What every input must satisfy, one function per fuzz target.
//!
//! The fuzzer calls them with whatever it thinks of; `tests/property/replay.rs` calls them with the
//! committed corpus. An input that breaks a promise panics here, with the promise as its message.

#[path = "checks/carriers.rs"]
pub mod carriers;
#[path = "checks/chunked_rewrite.rs"]
pub mod chunked_rewrite;
#[path = "checks/coding.rs"]
pub mod coding;
#[path = "checks/config.rs"]
pub mod config;
#[path = "checks/device.rs"]
pub mod device;
#[path = "checks/heads.rs"]
pub mod heads;
#[path = "checks/host.rs"]
pub mod host;
#[path = "checks/login.rs"]
pub mod login;
#[path = "checks/proxy_protocol.rs"]
pub mod proxy_protocol;
#[path = "checks/request.rs"]
pub mod request;
#[path = "checks/scan.rs"]
pub mod scan;
#[path = "checks/token.rs"]
pub mod token;
#[path = "checks/webhook.rs"]
pub mod webhook;
#[path = "checks/websocket.rs"]
pub mod websocket;
