//! The logins and guards of common shops, written as anyone would write them in a configuration.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::compile::Compiler;
use super::schema::{ShopSchema, SiteGuardSchema, SiteLoginSchema};
use super::source::{At, Source};
use crate::policy::{GuardRule, LoginLimits, PathPattern};

/// What a preset holds.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PresetFile {
    /// The path of the login page, for which another may be said.
    page: String,
    #[serde(default)]
    login: Vec<At<SiteLoginSchema>>,
    #[serde(default)]
    guard: Vec<At<SiteGuardSchema>>,
}

/// A preset, compiled.
pub(super) struct Preset {
    pub(super) logins: Vec<GuardRule>,
    pub(super) guards: Vec<GuardRule>,
}

/// The rules of a shop. `path` takes the place of its login page's own, everywhere it stands.
pub(super) fn compile(shop: ShopSchema, path: Option<&PathPattern>, base: &LoginLimits) -> Preset {
    let text = text(shop);
    let source = Source { file: Path::new("preset"), text, folder: PathBuf::new() };
    let mut compiler = Compiler::of(&source, &|_| None);
    // That each compiles without a problem is a test.
    let written: PresetFile = toml::from_str(text).unwrap_or_else(|_| PresetFile {
        page: String::new(),
        login: Vec::new(),
        guard: Vec::new(),
    });
    let mut logins = Vec::new();
    for at in &written.login {
        let login = at.get();
        let rule = login.path.as_ref().and_then(|path| compiler.login_rule(login, path, base));
        logins.extend(rule);
    }
    let mut guards: Vec<GuardRule> =
        written.guard.iter().filter_map(|at| compiler.guard_rule(at, base)).collect();
    if let Some((path, page)) = path.zip(PathPattern::parse(&written.page)) {
        for rule in logins.iter_mut().chain(&mut guards).filter(|rule| rule.path == page) {
            rule.path = path.clone();
        }
    }
    Preset { logins, guards }
}

fn text(shop: ShopSchema) -> &'static str {
    match shop {
        ShopSchema::Django => include_str!("presets/django.toml"),
        ShopSchema::Magento => include_str!("presets/magento.toml"),
        ShopSchema::Opencart => include_str!("presets/opencart.toml"),
        ShopSchema::Prestashop => include_str!("presets/prestashop.toml"),
        ShopSchema::Shopware => include_str!("presets/shopware.toml"),
        ShopSchema::Woocommerce => include_str!("presets/woocommerce.toml"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOPS: [ShopSchema; 6] = [
        ShopSchema::Django,
        ShopSchema::Magento,
        ShopSchema::Opencart,
        ShopSchema::Prestashop,
        ShopSchema::Shopware,
        ShopSchema::Woocommerce,
    ];

    #[test]
    fn every_preset_compiles_without_a_problem() {
        for shop in SHOPS {
            let text = text(shop);
            let written: PresetFile = toml::from_str(text).unwrap();
            let source = Source { file: Path::new("preset"), text, folder: PathBuf::new() };
            let mut compiler = Compiler::of(&source, &|_| None);
            let base = LoginLimits::default();
            for at in &written.login {
                let login = at.get();
                assert!(login.preset.is_none(), "{shop:?}");
                let path = login.path.as_ref().unwrap();
                assert!(compiler.login_rule(login, path, &base).is_some());
            }
            for at in &written.guard {
                assert!(compiler.guard_rule(at, &base).is_some());
            }
            let problems: Vec<_> = compiler.problems.iter().map(ToString::to_string).collect();
            assert_eq!(problems, Vec::<String>::new(), "{shop:?}");
            let page = |at: &At<SiteLoginSchema>| {
                at.get().path.as_ref().is_some_and(|path| *path.get() == written.page)
            };
            assert!(written.login.iter().any(page), "{shop:?}");
        }
    }

    #[test]
    fn a_path_takes_the_place_of_the_login_page() {
        let path = PathPattern::parse("/mein-konto*").unwrap();
        let preset = compile(ShopSchema::Woocommerce, Some(&path), &LoginLimits::default());
        assert_eq!(preset.logins[0].path, path);
        assert!(preset.guards.iter().any(|guard| guard.path == path));
        assert!(preset.logins.iter().any(|login| login.path != path));
    }
}
