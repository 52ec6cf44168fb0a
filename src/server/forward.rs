//! One connection of a shop that speaks to us as to its proxy.
//!
//! It begins as HTTP/1.1 and ends as what CONNECT made of it: a tunnel, or a TLS connection of its
//! own, in which we are the payment gateway.

use std::sync::Arc;

use http::{Method, Request};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tracing::debug;

use super::activity::Activity;
use super::connection::{Answering, Context, drive_http1, serve_tls};
use super::doorman::{Handshake, Place};
use crate::policy::Timeouts;
use crate::proxy::{Connect, Intercept, Onward, Peer, Role};
use crate::tls::Acceptor;

/// Serves one connection to the end of its HTTP; what it becomes is another task's.
pub(super) async fn serve(context: &Arc<Context>, tcp: TcpStream, peer: Peer, timeouts: &Timeouts) {
    let activity = Activity::new();
    let caller = Arc::new(Caller { context: Arc::clone(context), peer });
    let service = connecting(Arc::clone(&caller), Arc::clone(&activity));
    let place = Place::uncounted();
    drive_http1(context, tcp, (activity, service), (&caller.peer, &place), timeouts).await;
}

/// Who is at the other end, for as long as the connection lasts in any form.
struct Caller {
    context: Arc<Context>,
    peer: Peer,
}

fn connecting(
    caller: Arc<Caller>,
    activity: Arc<Activity>,
) -> impl Fn(Request<Incoming>) -> Answering {
    move |request| {
        let caller = Arc::clone(&caller);
        let busy = activity.begin(&request);
        Box::pin(async move {
            let proxy = &caller.context.proxy;
            if request.method() != Method::CONNECT {
                let answer = proxy.handle(&caller.peer, request).await;
                return Ok(busy.answer(answer));
            }
            let Connect { response, onward } = proxy.connect(&caller.peer, request).await;
            match onward {
                Some(Onward::Intercept(intercept)) => {
                    caller.context.tasks.spawn(answer_for(Arc::clone(&caller), intercept));
                }
                Some(Onward::Tunnel(tunnel)) => {
                    let caller = Arc::clone(&caller);
                    caller.context.tasks.clone().spawn(async move {
                        tunnel.run().await;
                        drop(caller);
                    });
                }
                None => {}
            }
            Ok(busy.answer(response))
        })
    }
}

/// Serves the inside of a connection to a payment gateway.
async fn answer_for(caller: Arc<Caller>, intercept: Intercept) {
    let Intercept { destination, tls, client } = intercept;
    let client = match client.await {
        Ok(client) => TokioIo::new(client),
        Err(error) => return debug!(%error, "the client of a gateway went away"),
    };
    let Caller { context, peer, .. } = &*caller;
    let inside = Peer {
        address: peer.address,
        role: Role::Intercepted(destination),
        server_name: None,
        tls_version: None,
        certified: false,
        admission: None,
        dialer: Arc::clone(&peer.dialer),
        tasks: peer.tasks.clone(),
        leave: peer.leave.clone(),
        presence: Arc::clone(&peer.presence),
    };
    let timeouts = context.proxy.timeouts();
    let acceptor = Arc::new(Acceptor::fixed(tls));
    let uncounted = (&Place::uncounted(), Handshake::uncounted());
    serve_tls(context, (acceptor, client), inside, uncounted, &timeouts).await;
}
