//! The names and passwords in XML-RPC calls, of which WordPress takes hundreds in one request.
//!
//! Calls are read as WordPress reads them: any scalar outside a list is a parameter, whatever
//! encloses it, and `system.multicall` holds a call in every struct.

use zeroize::Zeroizing;

use super::account::Account;
use super::basic;
use super::guess::{GUESSES_MAX, Guess};
use super::xml::Element;

/// Calls that take a name and a password, and how many parameters stand before them. The first that
/// matches: a whole name before the beginning of one.
///
/// Sources: WordPress `wp-includes/class-wp-xmlrpc-server.php`; Magento 1 `login(apiUser, apiKey)`;
/// Odoo `authenticate(database, login, password)`.
const CALLS: [(&str, usize); 13] = [
    ("wp.getUsersBlogs", 0),
    ("wp.", 1),
    ("blogger.getUsersBlogs", 1),
    ("blogger.getUserInfo", 1),
    ("blogger.", 2),
    ("metaWeblog.getUsersBlogs", 1),
    ("metaWeblog.deletePost", 2),
    ("metaWeblog.", 1),
    ("mt.supported", usize::MAX),
    ("mt.getTrackbackPings", usize::MAX),
    ("mt.", 1),
    ("login", 0),
    ("authenticate", 1),
];

/// The elements that hold a value.
const SCALARS: [&str; 8] =
    ["string", "int", "i4", "i8", "double", "boolean", "base64", "dateTime.iso8601"];

/// What a body of calls tries; one more than allowed is kept, to be seen.
pub(super) fn guesses(root: &Element) -> Vec<Guess> {
    let mut found = Vec::new();
    let mut method = String::new();
    find(root, &mut |element| {
        if element.name == "methodName" {
            element.text.trim().clone_into(&mut method);
        }
    });
    if method != "system.multicall" {
        let mut values = Vec::new();
        scalars(root, &mut values);
        found.extend(guess(&method, &values));
        return found;
    }
    find(root, &mut |element| {
        if element.name == "struct" && found.len() <= GUESSES_MAX {
            let guess = call(element).and_then(|(method, values)| guess(&method, &values));
            Guess::add(&mut found, guess);
        }
    });
    found
}

/// Whether a body that breaks off has shown all it tries: one call, whose password has come.
pub(super) fn is_enough(root: &Element) -> bool {
    let mut several = false;
    find(root, &mut |element| several |= element.text.trim() == "system.multicall");
    !several && guesses(root).iter().any(|guess| !guess.account.names().is_empty())
}

fn guess(method: &str, values: &[String]) -> Option<Guess> {
    let (_, before) = CALLS.iter().find(|(name, _)| {
        if name.ends_with('.') || name.ends_with("supported") {
            method.starts_with(name)
        } else {
            method == *name
        }
    })?;
    let name = values.get(*before)?;
    let password = values.get(before.checked_add(1)?)?;
    let secret = Zeroizing::new(password.clone());
    Some(Guess::new(Account::of([name.as_str()]), secret))
}

/// The method and the parameters of one call of many.
fn call(element: &Element) -> Option<(String, Vec<String>)> {
    let member = |wanted: &str| {
        element.inside.iter().rfind(|member| {
            member.inside.iter().any(|part| part.name == "name" && part.text.trim() == wanted)
        })
    };
    let value = |member: &Element| {
        let mut values = Vec::new();
        for part in member.inside.iter().filter(|part| part.name == "value") {
            flat(part, &mut values);
        }
        values
    };
    let method = value(member("methodName")?).into_iter().next()?;
    Some((method.trim().to_owned(), member("params").map(value).unwrap_or_default()))
}

/// The scalars that stand in no list.
fn scalars(element: &Element, values: &mut Vec<String>) {
    for inside in &element.inside {
        match inside.name.as_str() {
            "array" | "struct" => values.push(String::new()),
            "methodName" => {}
            _ => match scalar(inside) {
                Some(value) => values.push(value),
                None => scalars(inside, values),
            },
        }
    }
}

/// The scalars of a list of parameters; a list among them is one.
fn flat(element: &Element, values: &mut Vec<String>) {
    for inside in &element.inside {
        match (inside.name.as_str(), scalar(inside)) {
            (_, Some(value)) => values.push(value),
            ("array" | "data", None) => flat(inside, values),
            (_, None) => scalars(inside, values),
        }
    }
    if element.inside.is_empty() {
        values.push(element.text.trim().to_owned());
    }
}

fn scalar(element: &Element) -> Option<String> {
    let text = element.text.trim();
    if element.name == "base64" {
        return Some(String::from_utf8_lossy(&basic::unpack(text)).into_owned());
    }
    let bare = element.name == "value" && element.inside.is_empty();
    (bare || SCALARS.contains(&element.name.as_str())).then(|| text.to_owned())
}

fn find(element: &Element, see: &mut dyn FnMut(&Element)) {
    see(element);
    element.inside.iter().for_each(|inside| find(inside, see));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::login::xml::parse;

    fn names(text: &str) -> Vec<String> {
        let guesses = guesses(&parse(text).0);
        guesses.iter().map(|guess| guess.account.names().join("+")).collect()
    }

    fn call(method: &str, values: &[&str]) -> String {
        let values: String =
            values.iter().map(|v| format!("<param><value>{v}</value></param>")).collect();
        format!(
            "<?xml version=\"1.0\"?><methodCall><methodName>{method}</methodName>\
             <params>{values}</params></methodCall>"
        )
    }

    fn multicall(passwords: &[&str]) -> String {
        let calls: String = passwords
            .iter()
            .map(|password| {
                format!(
                    "<value><struct><member><name>methodName</name><value><string>wp.getUsersBlogs\
                     </string></value></member><member><name>params</name><value><array><data>\
                     <value><string>admin</string></value><value><string>{password}</string></value>\
                     </data></array></value></member></struct></value>"
                )
            })
            .collect();
        format!(
            "<methodCall><methodName>system.multicall</methodName><params><param><value><array>\
             <data>{calls}</data></array></value></param></params></methodCall>"
        )
    }

    #[test]
    fn the_name_stands_where_the_method_puts_it() {
        let string = |text: &str| format!("<string>{text}</string>");
        let (ann, p) = (string("Ann"), string("p"));
        assert_eq!(names(&call("wp.getUsersBlogs", &[&ann, &p])), ["ann"]);
        assert_eq!(names(&call("wp.getPosts", &["<int>1</int>", &ann, &p])), ["ann"]);
        assert_eq!(names(&call("wp.getPosts", &["1", "Ann", "p"])), ["ann"]);
        assert_eq!(names(&call("blogger.getPost", &["k", "1", &ann, &p])), ["ann"]);
        let base64 = "<base64>\nQW5u </base64>";
        assert_eq!(names(&call("wp.getUsersBlogs", &[base64, &p])), ["ann"]);
    }

    #[test]
    fn calls_without_a_password_are_no_logins() {
        for method in
            ["pingback.ping", "demo.sayHello", "system.listMethods", "mt.supportedMethods"]
        {
            assert!(names(&call(method, &["a", "b", "c"])).is_empty(), "{method}");
        }
    }

    #[test]
    fn every_guess_of_a_multicall_counts_and_one_pair_of_many_calls_is_one() {
        assert_eq!(names(&multicall(&["a", "b", "c"])), ["admin"; 3]);
        assert_eq!(names(&multicall(&["a"; 50])), ["admin"]);
        let many: Vec<String> = (0..100).map(|n| n.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(names(&multicall(&many)).len() > GUESSES_MAX);
    }

    #[test]
    fn a_large_upload_shows_who_sends_it_in_its_beginning() {
        let upload =
            call("wp.uploadFile", &["1", "ann", "p"]).replace("</params></methodCall>", "");
        let cut =
            format!("{upload}<param><value><struct><member><name>bits</name><value><base64>AAAA");
        assert!(is_enough(&parse(&cut).0));
        assert!(!is_enough(&parse("<methodCall><methodName>wp.uploadFile</methodName>").0));
        assert!(!is_enough(&parse(&multicall(&["a", "b"])).0));
    }
}
