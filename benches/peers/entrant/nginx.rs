//! nginx as a service runs it (a master and its workers): the origin, a proxy, and a proxy that masks
//! card numbers with Lua.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::process::Command;

use super::{Scene, connections_max};
use crate::failure::Failure;
use crate::folder::Folder;
use crate::program::Programs;

/// What an operator adds to mask answers: the body is gathered first, since a number may be cut by
/// any buffer's end; a compiled expression finds 14 to 19 digits that stand alone; Luhn decides. The
/// mask keeps the length, so `Content-Length` stays.
pub(super) const MASKING: &str = r#"
init_by_lua_block {
  local gsub, byte, sub, rep = ngx.re.gsub, string.byte, string.sub, string.rep
  local function luhn(digits)
    local sum, double = 0, false
    for at = #digits, 1, -1 do
      local digit = byte(digits, at) - 48
      if double then digit = digit * 2; if digit > 9 then digit = digit - 9 end end
      sum, double = sum + digit, not double
    end
    return sum % 10 == 0
  end
  local function mask(found)
    local digits = gsub(found[0], "[ -]", "", "jo")
    if not luhn(digits) then return found[0] end
    local kept = #digits - 4
    local seen = 0
    return (gsub(found[0], "[0-9]", function(digit)
      seen = seen + 1
      return (seen <= 6 or seen > kept) and digit[0] or "*"
    end, "jo"))
  end
  function mask_cards(body)
    return (gsub(body, [[(?<![0-9A-Za-z.])[2-6](?:[ -]?[0-9]){13,18}(?![0-9])]], mask, "jo"))
  end
}
body_filter_by_lua_block {
  local kind = ngx.header.content_type or ""
  if not (kind:find("text/html", 1, true) or kind:find("application/json", 1, true)) then return end
  local parts = ngx.ctx.parts
  if not parts then parts = {}; ngx.ctx.parts = parts end
  parts[#parts + 1] = ngx.arg[1]
  if not ngx.arg[2] then ngx.arg[1] = nil; return end
  ngx.arg[1] = mask_cards(table.concat(parts))
}
"#;

/// The shop: static files, a page that takes posts, a login that nobody passes, and, where there is Lua, one that says what it got.
pub(super) fn origin(
    programs: &Programs,
    folder: &Folder,
    address: SocketAddr,
) -> Result<Command, Failure> {
    let echo = programs.lua.as_ref().map_or("", |_| {
        "location = /echo { content_by_lua_block { ngx.req.read_body() ngx.print(ngx.req.get_body_data()) } }"
    });
    let http = format!(
        "sendfile on; tcp_nopush on; default_type text/html;\n\
         types {{ text/html html; application/json json; }}\n\
         server {{ listen {address} backlog=4096; root {};\n\
         location = /checkout {{ return 200 'Thank you.'; }}\n\
         location = /login {{ return 401 'Wrong.'; }}\n{echo}\n}}",
        folder.at("shop").display()
    );
    nginx(programs, folder, "origin", (1, &http))
}

/// Buffers hold the largest answer but a megabyte, which goes by as it comes: a temporary file would
/// be a poor comparison.
pub(super) fn proxy(
    scene: &Scene<'_>,
    name: &str,
    address: SocketAddr,
    more: &str,
) -> Result<Command, Failure> {
    let http = format!(
        "ssl_certificate {}; ssl_certificate_key {}; ssl_protocols TLSv1.3;\n\
         upstream origin {{ server {}; keepalive 128; keepalive_requests 1000000000; }}\n\
         proxy_http_version 1.1; proxy_set_header Connection ''; proxy_set_header Host $http_host;\n\
         proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto https;\n\
         proxy_buffer_size 16k; proxy_buffers 8 32k; proxy_max_temp_file_size 0;\n{more}\n\
         server {{ listen {address} ssl http2 backlog=4096; location / {{ proxy_pass http://origin; }} }}",
        scene.identity("pem").display(),
        scene.identity("key").display(),
        scene.origin
    );
    nginx(scene.programs, scene.folder, name, (scene.setup.workers, &http))
}

/// With nothing outside the folder, and room for every connection we open.
fn nginx(
    programs: &Programs,
    folder: &Folder,
    name: &str,
    (workers, http): (u8, &str),
) -> Result<Command, Failure> {
    let root = folder.path().display();
    let mut config = String::new();
    for module in programs.lua.iter().flatten().filter(|_| http.contains("_by_lua_block")) {
        let _ = writeln!(config, "load_module {};", module.display());
    }
    let _ = write!(
        config,
        "user root; daemon off; worker_processes {workers};\n\
         pid {root}/{name}.pid; error_log {root}/{name}.log crit;\n\
         events {{ worker_connections {}; }}\n\
         http {{ access_log off; keepalive_requests 1000000000; keepalive_timeout 300;\n",
        2 * connections_max()
    );
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        let _ = writeln!(config, "{kind}_temp_path {root}/{name}-{kind};");
    }
    config = config + http + "\n}\n";
    let file = folder.write(&format!("{name}.conf"), &config)?;
    let log = folder.at(&format!("{name}.log"));
    let mut command = Command::new(&programs.nginx);
    command.arg("-p").arg(folder.path()).arg("-c").arg(file).arg("-e").arg(&log);
    Ok(command)
}
