//! Open descriptors on their way from one process to another (unix(7), `SCM_RIGHTS`).
//!
//! What arrives is closed when a program is started: only who is given a descriptor has it.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

/// One byte goes with each, because a message without any is none.
const BESIDE: [u8; 1] = [0];

/// Sends them, in order.
///
/// # Errors
/// When the other side is gone.
pub fn send_descriptors(line: &UnixStream, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    for descriptor in descriptors {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let one = [*descriptor];
        if !ancillary.push(SendAncillaryMessage::ScmRights(&one)) {
            return Err(ErrorKind::InvalidInput.into());
        }
        rustix::net::sendmsg(line, &[IoSlice::new(&BESIDE)], &mut ancillary, SendFlags::NOSIGNAL)?;
    }
    Ok(())
}

/// Receives so many, in order.
///
/// # Errors
/// When fewer come.
pub fn receive_descriptors(line: &UnixStream, count: usize) -> io::Result<Vec<OwnedFd>> {
    let mut received = Vec::new();
    for _ in 0..count {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut beside = BESIDE;
        let mut into = [IoSliceMut::new(&mut beside)];
        let got = rustix::net::recvmsg(line, &mut into, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
        let rights = ancillary.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut rights) => rights.next(),
            _ => None,
        });
        received.push(rights.filter(|_| got.bytes == 1).ok_or(ErrorKind::UnexpectedEof)?);
    }
    Ok(received)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn a_listener_that_was_handed_over_accepts_who_waited_at_the_old_one() {
        let (near, far) = UnixStream::pair().unwrap();
        let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let addresses = listeners.each_ref().map(|listener| listener.local_addr().unwrap());
        let waiting = addresses.map(|address| TcpStream::connect(address).unwrap());
        send_descriptors(&near, &listeners.each_ref().map(|listener| listener.as_fd())).unwrap();
        drop(listeners);
        let received = receive_descriptors(&far, 3).unwrap();
        for (descriptor, client) in received.into_iter().zip(waiting) {
            let (_, from) = TcpListener::from(descriptor).accept().unwrap();
            assert_eq!(from, client.local_addr().unwrap());
        }
        drop(near);
        assert!(receive_descriptors(&far, 1).is_err());
    }
}
