//! A recording that a browser saved (HTTP Archive 1.2), for shops that cannot be reached from here.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Request, Response};
use serde::Deserialize;
use thiserror::Error;
use zeroize::Zeroizing;

use super::exchange::Exchange;

/// The largest recording that is read.
const HAR_BYTES_MAX: u64 = 256 << 20;

/// Why a recording is of no use.
#[derive(Debug, Error)]
pub enum HarError {
    /// It is no recording.
    #[error("{} is no HTTP archive (HAR)", path.display())]
    Format {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is beyond what is read.
    #[error("{} is larger than {} MiB", path.display(), HAR_BYTES_MAX >> 20)]
    TooLarge {
        /// Which file.
        path: PathBuf,
    },
}

#[derive(Deserialize)]
struct Har {
    log: Log,
}

#[derive(Deserialize)]
struct Log {
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    request: Asked,
    response: Answered,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    method: String,
    url: String,
    headers: Vec<Header>,
    post_data: Option<PostData>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PostData {
    #[serde(default)]
    mime_type: String,
    #[serde(default)]
    text: String,
}

#[derive(Deserialize)]
struct Answered {
    status: u16,
    headers: Vec<Header>,
    content: Content,
}

#[derive(Deserialize)]
struct Content {
    #[serde(default)]
    text: String,
    #[serde(default)]
    encoding: String,
}

#[derive(Deserialize)]
struct Header {
    name: String,
    value: String,
}

/// The exchanges of a recording, in their order.
pub(super) fn read(path: &Path) -> Result<Vec<Exchange>, HarError> {
    let failed = |source| HarError::Read { path: path.to_owned(), source };
    let mut text = Zeroizing::new(Vec::new());
    let file = File::open(path).map_err(failed)?;
    file.take(HAR_BYTES_MAX + 1).read_to_end(&mut text).map_err(failed)?;
    if u64::try_from(text.len()).is_ok_and(|length| length > HAR_BYTES_MAX) {
        return Err(HarError::TooLarge { path: path.to_owned() });
    }
    let har: Har = serde_json::from_slice(&text)
        .map_err(|source| HarError::Format { path: path.to_owned(), source })?;
    Ok(har.log.entries.into_iter().filter_map(exchange).collect())
}

/// An entry, where it is HTTP: browsers also list what they had to themselves.
fn exchange(entry: Entry) -> Option<Exchange> {
    let Entry { request: asked, response: answered } = entry;
    let mut request =
        Request::builder().method(asked.method.as_str()).uri(&asked.url).body(()).ok()?;
    fill(request.headers_mut(), asked.headers);
    let body = asked.post_data.map(|post| {
        if let Ok(kind) = post.mime_type.parse::<HeaderValue>() {
            request.headers_mut().insert(CONTENT_TYPE, kind);
        }
        Zeroizing::new(post.text.into_bytes())
    });
    let mut response = Response::builder().status(answered.status).body(()).ok()?;
    fill(response.headers_mut(), answered.headers);
    // The text is what was decoded.
    response.headers_mut().remove(CONTENT_ENCODING);
    response.headers_mut().remove(CONTENT_LENGTH);
    let Content { text, encoding } = answered.content;
    let page = match encoding.as_str() {
        "base64" => STANDARD.decode(text).unwrap_or_default(),
        _ => text.into_bytes(),
    };
    Some(Exchange {
        request: request.into_parts().0,
        body: body.unwrap_or_default(),
        answer: response.into_parts().0,
        page,
    })
}

fn fill(headers: &mut http::HeaderMap, written: Vec<Header>) {
    for Header { name, value } in written {
        // Chromium puts several cookies into one header, a line each.
        for line in value.split('\n') {
            if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), line.parse()) {
                headers.append(name, value);
            }
        }
    }
}
