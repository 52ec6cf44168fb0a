//! Pingora's minimal proxy: TLS in front, kept connections to one origin behind.
//!
//! `peers-pingora LISTEN ORIGIN CERTIFICATE KEY WORKERS`

use std::env;

use async_trait::async_trait;
use pingora::listeners::tls::TlsSettings;
use pingora::prelude::{HttpPeer, RequestHeader, Result, Server, Session, http_proxy_service};
use pingora::proxy::ProxyHttp;
use pingora::server::configuration::ServerConf;

struct Proxy {
    origin: String,
}

#[async_trait]
impl ProxyHttp for Proxy {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, _: &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.origin.as_str(), false, String::new())))
    }

    /// The same two fields as the others pass on.
    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        _: &mut (),
    ) -> Result<()> {
        let client = session.client_addr().and_then(|address| address.as_inet());
        if let Some(client) = client {
            request.insert_header("X-Forwarded-For", client.ip().to_string())?;
        }
        request.insert_header("X-Forwarded-Proto", "https")
    }
}

fn main() -> Result<()> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let [listen, origin, certificate, key, workers] = arguments.as_slice() else {
        panic!("usage: peers-pingora LISTEN ORIGIN CERTIFICATE KEY WORKERS");
    };
    let workers = workers.parse().expect("WORKERS is a number");
    let conf = ServerConf { threads: workers, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut proxy = http_proxy_service(&server.configuration, Proxy { origin: origin.clone() });
    let mut settings = TlsSettings::intermediate(certificate, key)?;
    settings.enable_h2();
    proxy.add_tls_with_settings(listen, None, settings);
    server.add_service(proxy);
    server.run_forever()
}
