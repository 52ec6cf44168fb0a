//! What the compiler does not check: who may use whom, nothing left unfinished, and documentation
//! that agrees with the code.

#[cfg(test)]
mod tidy {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::{Path, PathBuf};

    /// The rows of STYLE.md section 1: a module uses only modules of the rows above its own.
    const ROWS: [&[&str]; 12] = [
        &["card"],
        &["coding", "scan"],
        &["policy"],
        &["config", "disk", "link", "telemetry"],
        &["counters", "keys", "tls"],
        &["acme", "vault"],
        &["proxy"],
        &["reload", "server"],
        &["app", "inspect", "learn"],
        &["demo"],
        &["cli"],
        &["main"],
    ];

    /// Requests never see the schema of the file.
    const NEVER_CONFIG: [&str; 5] = ["counters", "keys", "proxy", "tls", "vault"];

    fn root() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR"))
    }

    fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                found.extend(files(&path, extension));
            } else if path.extension().is_some_and(|it| it == extension) {
                found.push(path);
            }
        }
        found.sort();
        found
    }

    /// Each source file, its top-level module and its text without the tests at its end.
    fn sources() -> Vec<(PathBuf, String, String)> {
        let src = root().join("src");
        let read = |path: PathBuf| {
            let inside = path.strip_prefix(&src).unwrap().with_extension("");
            let module = inside.iter().next().unwrap().to_str().unwrap().to_owned();
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned();
            (path, module, code)
        };
        let code = files(&src, "rs").into_iter().filter(|path| !for_tests_only(path));
        code.map(read).collect()
    }

    /// Whether the module above declares this file under `#[cfg(test)]`, or is itself for tests only.
    fn for_tests_only(path: &Path) -> bool {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let parent = path.parent().unwrap().with_extension("rs");
        let declaration = format!("#[cfg(test)]\nmod {name};");
        let declared = fs::read_to_string(&parent).is_ok_and(|text| text.contains(&declaration));
        declared || parent.exists() && for_tests_only(&parent)
    }

    /// A line without its comment.
    fn code_of(line: &str) -> &str {
        line.split("//").next().unwrap()
    }

    /// The top-level modules named after `crate::` or, in the binary, `tillgate::`.
    fn used(code: &str) -> BTreeSet<String> {
        let code: String = code.lines().map(|line| format!("{}\n", code_of(line))).collect();
        let mut modules = BTreeSet::new();
        for prefix in ["crate::", "tillgate::"] {
            for (at, _) in code.match_indices(prefix) {
                let rest = &code[at + prefix.len()..];
                let names = rest.strip_prefix('{').map_or_else(|| vec![rest], group);
                modules.extend(names.into_iter().map(first_name));
            }
        }
        modules.retain(|name| !name.is_empty());
        modules
    }

    /// The items of `a, b::{c, d}, e}`, at the outermost level.
    fn group(text: &str) -> Vec<&str> {
        let (mut depth, mut start, mut items) = (0, 0, Vec::new());
        for (at, letter) in text.char_indices() {
            match letter {
                '{' => depth += 1,
                '}' if depth > 0 => depth -= 1,
                ',' if depth == 0 => {
                    items.push(text[start..at].trim_start());
                    start = at + 1;
                }
                '}' => {
                    items.push(text[start..at].trim_start());
                    return items;
                }
                _ => {}
            }
        }
        items
    }

    fn first_name(path: &str) -> String {
        path.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect()
    }

    fn row(module: &str) -> Option<usize> {
        ROWS.iter().position(|row| row.contains(&module))
    }

    #[test]
    fn a_module_uses_only_the_rows_above_its_own() {
        let mut wrong = Vec::new();
        for (path, module, code) in sources() {
            if module == "lib" {
                continue;
            }
            let own = row(&module).unwrap_or_else(|| panic!("{module} is in no row"));
            for other in used(&code) {
                // What is in no row is an item of the crate, such as a macro.
                let Some(its) = row(&other) else { continue };
                let barred = other == "config" && NEVER_CONFIG.contains(&module.as_str());
                if other != module && (its >= own || barred) {
                    wrong.push(format!("{}: {module} may not know {other}", path.display()));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn imports_are_understood() {
        let names = |code: &str| used(code).into_iter().collect::<Vec<_>>().join(" ");
        assert_eq!(names("use crate::card::{Pan, Token};\nlet x = crate::scan::y();"), "card scan");
        assert_eq!(names("use crate::{card::{A, B}, policy::Live};"), "card policy");
        assert_eq!(names("// use crate::vault::Vault;\nuse tillgate::app;"), "app");
    }

    #[test]
    fn the_library_lists_its_modules_in_reading_order() {
        let lib = fs::read_to_string(root().join("src/lib.rs")).unwrap();
        let listed: Vec<_> = lib
            .lines()
            .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
            .map(|module| row(module).unwrap_or_else(|| panic!("{module} is in no row")))
            .collect();
        assert!(listed.is_sorted(), "the module list of lib.rs is out of order: {listed:?}");
    }

    #[test]
    fn nothing_is_left_unfinished() {
        // Put together, so that this file does not find itself.
        let marks = [["TO", "DO"], ["FIX", "ME"]].map(|parts| parts.concat());
        let mut wrong = Vec::new();
        for folder in ["src", "tests"] {
            for path in files(&root().join(folder), "rs") {
                for (number, line) in fs::read_to_string(&path).unwrap().lines().enumerate() {
                    if marks.iter().any(|mark| line.contains(mark.as_str())) {
                        wrong.push(format!("{}:{}: {line}", path.display(), number + 1));
                    }
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn the_source_never_unwraps_or_ignores_a_test() {
        let mut wrong = Vec::new();
        for (path, _, code) in sources() {
            for (number, line) in code.lines().enumerate() {
                let line = code_of(line);
                let banned = [".unwrap()", "todo!(", "unimplemented!(", "dbg!(", "#[ignore"];
                if banned.iter().any(|word| line.contains(word)) {
                    wrong.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn the_reference_shows_every_key() {
        let reference = fs::read_to_string(root().join("config/tillgate.toml")).unwrap();
        for table in [
            "[sandbox]",
            "[admin]",
            "[[listen]]",
            "[[certificate]]",
            "[[acme]]",
            "[[site]]",
            "[[site.login]]",
            "[[site.block]]",
            "[[site.route]]",
            "[cards]",
            "[headers]",
            "[limits]",
            "[timeouts]",
            "[login]",
            "[networks]",
            "[proof_of_work]",
            "[pages]",
            "[[gateway]]",
            "[[webhook]]",
            "[forward_proxy]",
            "[vault]",
            "[counters]",
            "[log]",
        ] {
            assert!(reference.contains(table), "the reference does not show {table}");
        }
        let words: BTreeSet<_> =
            reference.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
        for key in KEYS.split_whitespace() {
            assert!(words.contains(key), "the reference does not show {key}");
        }
    }

    #[test]
    fn the_reference_is_a_configuration_that_can_be_served() {
        let program = std::process::Command::new(env!("CARGO_BIN_EXE_tillgate"))
            .args(["check", "--config"])
            .arg(root().join("config/tillgate.toml"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&program.stderr);
        assert!(program.status.success() && said.is_empty(), "{said}");
    }

    const KEYS: &str = "data_dir workers pid_file trusted_proxies forwarded_header listen address tls redirect_to_https proxy_protocol chain \
        key hosts upstreams ca path method account_field success failure status location cookie body \
        cards limits requests responses token_format invalid_card strict card_fields cvv_fields \
        ignored_fields decoded ratio connect handshake request_head request_body_idle response_head \
        response_body_idle client_write keep_alive upgrade_idle drain upgrade per_network per_wide_network \
        per_account per_pair per_site lockout pair_lockout network_lockout wide_network_lockout failures enabled \
        ceiling first_delay last_delay accounts_min consecutive_failures trusted_networks_bypass \
        known_networks mode memory within lock name upstream store master_key previous_master_key file env \
        pkcs11 module token_label key_label pin cvv_store cvv_ttl access access_format level bearer \
        client_ca client_certificate credentials header value prefix basic user password hmac algorithm \
        encoding timestamp_header reveal methods paths fields otherwise reveal_limit preset secrets \
        tolerance others allow tunnels deny always bits lifetime folder block query headers require forbid \
        hsts hsts_subdomains hsts_preload nosniff referrer_policy permissions_policy frame_ancestors remove \
        replace block_body acme names directory terms_agreed contact challenge hook command environment timeout \
        propagation external_account key_id hmac_key retry balance sticky in_flight queue queue_wait attempts \
        retry_percent retry_min resolve_every health host interval fall rise failure_status eject eject_max \
        slow_start panic_percent maintenance flag retry_after url server_name connections connections_per_network handshakes \
        requests client_rate user group sandbox write";

    #[test]
    fn the_readme_opens_with_the_two_commands() {
        let readme = fs::read_to_string(root().join("README.md")).unwrap();
        let opening: String = readme.lines().take(40).map(|line| format!("{line}\n")).collect();
        for command in ["cargo run --release -- demo", "tests/run"] {
            assert!(opening.contains(command), "README does not open with: {command}");
        }
    }
}
