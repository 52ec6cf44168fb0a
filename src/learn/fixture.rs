//! Exchanges for tests.

use http::{Request, Response};

use super::exchange::Exchange;

/// A form that was posted to `/konto`, and its answer.
pub(super) fn posted(form: &str, status: u16, fields: &[(&str, &str)], page: &str) -> Exchange {
    let kind = ("content-type", "application/x-www-form-urlencoded");
    sent(("POST", "/konto"), &[kind], form, (status, fields, page))
}

/// A request and its answer.
pub(super) fn sent(
    (method, target): (&str, &str),
    fields: &[(&str, &str)],
    body: &str,
    (status, answered, page): (u16, &[(&str, &str)], &str),
) -> Exchange {
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let mut response = Response::builder().status(status);
    for (name, value) in answered {
        response = response.header(*name, *value);
    }
    Exchange {
        request: request.body(()).unwrap().into_parts().0,
        body: body.as_bytes().to_vec().into(),
        answer: response.body(()).unwrap().into_parts().0,
        page: page.as_bytes().to_vec(),
    }
}
