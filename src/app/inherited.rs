//! Listening sockets that somebody else has opened for us: the service manager (socket activation,
//! sd_listen_fds(3)), or the process that ran before an upgrade.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

use thiserror::Error;

use super::sockets::Place;

/// Sockets without an owner yet.
#[derive(Default)]
pub(super) struct Inherited(Vec<Given>);

struct Given {
    /// What it was for, where that is known.
    place: Option<Place>,
    /// What the service manager calls it.
    name: Option<String>,
    address: SocketAddr,
    socket: TcpListener,
}

/// Why the service manager's sockets cannot be used.
#[derive(Debug, Error)]
pub enum ActivationError {
    /// What the environment says of them makes no sense.
    #[error("the service manager's LISTEN_FDS cannot be read: {0}")]
    Environment(sd_listen_fds::Error),
    /// One is none that listens for TCP.
    #[error("the service manager passed {name:?}, which is no listening TCP socket")]
    NoListener {
        /// What it is called there.
        name: Option<String>,
        /// What is wrong with it.
        source: std::io::Error,
    },
    /// Clients would wait there for ever.
    #[error(
        "the service manager listens on {address} ({name:?}), which the configuration does not name: \
         add a [[listen]] with this address, or remove it from the .socket unit"
    )]
    Unwanted {
        /// Where it listens.
        address: SocketAddr,
        /// What it is called there.
        name: Option<String>,
    },
}

impl Inherited {
    /// None.
    pub(super) fn nothing() -> Self {
        Self::default()
    }

    /// Those that the service manager passed, if it did. To be asked once.
    pub(super) fn of_manager() -> Result<Self, ActivationError> {
        let given = sd_listen_fds::get().map_err(ActivationError::Environment)?;
        let adopt = |(name, descriptor): (Option<String>, sd_listen_fds::OwnedFd)| {
            // A copy, which no program that we start inherits.
            let socket = descriptor.into_std().try_clone().map(TcpListener::from);
            let found = socket.and_then(|socket| Ok((socket.local_addr()?, socket)));
            match found {
                Ok((address, socket)) => Ok(Given { place: None, name, address, socket }),
                Err(source) => Err(ActivationError::NoListener { name, source }),
            }
        };
        given.into_iter().map(adopt).collect::<Result<_, _>>().map(Self)
    }

    /// Those of a process before us.
    pub(super) fn of_predecessor(
        sockets: impl Iterator<Item = (Place, OwnedFd)>,
    ) -> std::io::Result<Self> {
        let adopt = |(place, descriptor)| {
            let socket = TcpListener::from(descriptor);
            let address = socket.local_addr()?;
            Ok(Given { place: Some(place), name: None, address, socket })
        };
        sockets.map(adopt).collect::<std::io::Result<_>>().map(Self)
    }

    /// The sockets of a place.
    pub(super) fn take(&mut self, place: &Place) -> Vec<TcpListener> {
        let is_it = |given: &mut Given| match &given.place {
            Some(known) => known == place,
            None => given.address == place.asked,
        };
        self.0.extract_if(.., is_it).map(|given| given.socket).collect()
    }

    /// Whether nobody wants one that we cannot close for all: the service manager has it open too.
    pub(super) fn all_taken(self) -> Result<(), ActivationError> {
        match self.0.into_iter().find(|given| given.place.is_none()) {
            Some(Given { address, name, .. }) => Err(ActivationError::Unwanted { address, name }),
            None => Ok(()),
        }
    }
}
