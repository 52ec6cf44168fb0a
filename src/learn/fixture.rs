//! Exchanges for tests.

use http::{Request, Response};

use super::exchange::Exchange;

/// A form that was posted to `/konto`, and its answer.
pub(super) fn posted(form: &str, status: u16, fields: &[(&str, &str)], page: &str) -> Exchange {
    let request =
        Request::post("/konto").header("content-type", "application/x-www-form-urlencoded");
    let mut response = Response::builder().status(status);
    for (name, value) in fields {
        response = response.header(*name, *value);
    }
    Exchange {
        request: request.body(()).unwrap().into_parts().0,
        body: form.as_bytes().to_vec().into(),
        answer: response.body(()).unwrap().into_parts().0,
        page: page.as_bytes().to_vec(),
    }
}
