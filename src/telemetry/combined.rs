//! The `combined` format of Apache, for tools that read nothing else.

use std::borrow::Cow;
use std::fmt::{self, Write};

use super::access::Cleaned;
use super::timestamp::ApacheTime;

/// `%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-agent}i"`.
pub(super) fn line(record: &Cleaned<'_>) -> String {
    let mut line = String::with_capacity(256);
    // Writing to a string cannot fail.
    let _ = write_line(record, &mut line);
    line
}

fn write_line(record: &Cleaned<'_>, out: &mut String) -> fmt::Result {
    write!(out, "{} - - [{}] \"", record.client, ApacheTime(record.at))?;
    escape(&record.method, out)?;
    out.push(' ');
    escape(&record.target, out)?;
    write!(out, " {}\" {} ", record.protocol, record.status)?;
    match record.response_bytes {
        0 => out.push('-'),
        bytes => write!(out, "{bytes}")?,
    }
    quoted(record.referrer.as_ref(), out)?;
    quoted(record.user_agent.as_ref(), out)
}

fn quoted(text: Option<&Cow<'_, str>>, out: &mut String) -> fmt::Result {
    out.push_str(" \"");
    match text {
        Some(text) => escape(text, out)?,
        None => out.push('-'),
    }
    out.push('"');
    Ok(())
}

/// As Apache does since 2.0.46: quotes and backslashes by a backslash, all that is not printable
/// ASCII as `\xhh`. Nothing the wire says can end a field or a line, or reach a terminal.
fn escape(text: &str, out: &mut String) -> fmt::Result {
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => {
                out.push('\\');
                out.push(char::from(byte));
            }
            b' '..=b'~' => out.push(char::from(byte)),
            _ => write!(out, "\\x{byte:02x}")?,
        }
    }
    Ok(())
}
