//! Requests made for one test.

use http::Request;
use http::header::HOST;

/// With these `Host` fields.
pub(super) fn request(line: &str, hosts: &[&str]) -> Request<()> {
    let mut builder = Request::builder().uri(line);
    for host in hosts {
        builder = builder.header(HOST, *host);
    }
    builder.body(()).unwrap()
}
