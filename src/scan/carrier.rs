//! What kind of text a body is.

/// The kinds of text that are read differently.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Carrier {
    /// Comma- or tab-separated values.
    Csv,
    /// `text/event-stream`.
    EventStream,
    /// `application/x-www-form-urlencoded`, and the query of a URL.
    Form,
    /// HTML.
    Html,
    /// JavaScript.
    JavaScript,
    /// JSON, NDJSON and GraphQL.
    Json,
    /// `multipart/*`; each part is read as what it is.
    Multipart,
    /// Anything else.
    Text,
    /// XML and SOAP.
    Xml,
}

impl Carrier {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Csv,
        Self::EventStream,
        Self::Form,
        Self::Html,
        Self::JavaScript,
        Self::Json,
        Self::Multipart,
        Self::Text,
        Self::Xml,
    ];

    /// The carrier a `Content-Type` names; `Text` where it names none.
    #[must_use]
    pub fn declared(content_type: &[u8]) -> Self {
        let end = content_type.iter().position(|&byte| byte == b';').unwrap_or(content_type.len());
        let essence = content_type.get(..end).unwrap_or_default().trim_ascii().to_ascii_lowercase();
        match essence.as_slice() {
            b"application/x-www-form-urlencoded" => Self::Form,
            b"text/csv" | b"text/tab-separated-values" => Self::Csv,
            b"text/event-stream" => Self::EventStream,
            b"text/html" | b"application/xhtml+xml" => Self::Html,
            b"text/xml" | b"application/xml" => Self::Xml,
            name if name.starts_with(b"multipart/") => Self::Multipart,
            name if name.ends_with(b"+xml") => Self::Xml,
            name if name.ends_with(b"json") || name.ends_with(b"graphql") => Self::Json,
            name if name.ends_with(b"javascript") || name.ends_with(b"ecmascript") => {
                Self::JavaScript
            }
            _ => Self::Text,
        }
    }

    /// The name used in metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::EventStream => "event_stream",
            Self::Form => "form",
            Self::Html => "html",
            Self::JavaScript => "javascript",
            Self::Json => "json",
            Self::Multipart => "multipart",
            Self::Text => "text",
            Self::Xml => "xml",
        }
    }
}
