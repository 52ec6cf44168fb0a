//! Sockets, threads and connections.
//!
//! One thread per core: each worker has its own runtime, its own listening sockets
//! (`SO_REUSEPORT`) and its own upstream connections, so that a request never changes threads. The
//! admin page and the signals live on a thread that serves no customer.

mod activity;
mod admin;
mod coalesce;
mod connection;
mod descriptors;
mod doorman;
mod entry;
mod forward;
pub mod heads;
mod listen;
pub mod proxy_protocol;
mod spare;
mod strict;
mod supervisor;
mod worker;

pub use admin::{Admin, TokenError, message, obtain_token, read_token};
pub use descriptors::{receive_descriptors, send_descriptors};
pub use doorman::Doorman;
pub use listen::{Bound, Kind, ListenError, Share};
pub use supervisor::{PERSONAL_VARIABLES, Supervisor};
pub use worker::{Drained, Worker, WorkerError, WorkerHandle};
