//! Verification codes and counts of logins in a cluster of Redis.

use crate::harness::{
    Cluster, Identity, Redis, Setup, Sidecar, Upstream, cards, certificates, eventually,
};
use crate::redis::{SharedVault, bought, counting, heals, log_in, login_shop, provider, vault};

const LOGINS: &str = "tillgate:{login}:";
const CODES: &str = "tillgate:{code}:";

fn degraded(sidecar: &Sidecar, so: bool) {
    eventually("the alarm changes", || {
        let rings = sidecar.metric("tillgate_counters_degraded", &[]) > 0.5;
        (rings == so).then_some(())
    });
}

#[test]
fn p6_failures_outlive_the_server_of_a_cluster_that_counted_them() {
    let Some(mut cluster) = Cluster::start("") else { return };
    let Some(shared) = SharedVault::start() else { return };
    let shop = login_shop();
    let [one, other] = [(); 2].map(|()| counting(&shop, &cluster.url(), &shared.keys()));
    for _ in 0..5 {
        assert_eq!(log_in(&mut one.http(), "ada", "wrong"), 401);
    }
    cluster.kill_primary(LOGINS);
    degraded(&other, true);
    assert_eq!(log_in(&mut other.http(), "bob", "right"), 302);
    degraded(&other, false);
    for _ in 0..5 {
        assert_eq!(log_in(&mut other.http(), "ada", "wrong"), 401);
    }
    assert_eq!(log_in(&mut other.http(), "ada", "right"), 429);
}

#[test]
fn a_code_follows_its_slot_and_outlives_the_server_that_kept_it() {
    let Some(mut cluster) = Cluster::start("") else { return };
    let (shop, provider) = (Upstream::ok(), provider());
    let setup = Setup::new(&shop).gateway("pay", &provider);
    let sidecar = setup.tables(&vault(&cluster.url(), "")).start();
    let body = bought(&sidecar, &shop);
    cluster.hand_over(CODES);
    heals(&sidecar);
    cluster.kill_primary(CODES);
    heals(&sidecar);
    assert_eq!(sidecar.gateway("pay").json("/charges", &body).status, 200);
    sidecar.gateway("pay").json("/charges", &body).assert_refused(422);
}

#[test]
fn an_encrypted_cluster_needs_no_more_than_the_rights_that_are_documented() {
    let certificate = tempfile::tempdir().unwrap();
    let folder = certificate.path().display();
    let (chain, key) = Identity::new(&["127.0.0.1"]).write(certificate.path(), "redis");
    std::fs::write(certificate.path().join("ca.pem"), certificates::authority_pem()).unwrap();
    let settings = format!(
        "tls-port {{port+2}}\ntls-auth-clients no\ntls-cluster yes\ntls-replication yes\n\
         tls-cert-file {}\ntls-key-file {}\ntls-ca-cert-file {folder}/ca.pem\n\
         user till on >word ~tillgate:* +@read +@write +@scripting +@connection +info +time \
         +cluster|info +cluster|keyslot +cluster|slots\n",
        chain.display(),
        key.display()
    );
    let Some(cluster) = Cluster::start(&settings) else { return };
    let port = |server: &Redis| {
        let told = server.cli(&["CONFIG", "GET", "tls-port"]);
        format!("127.0.0.1:{}", told.lines().last().unwrap())
    };
    let hosts: Vec<_> = cluster.servers().iter().map(port).collect();
    let url = format!("rediss+cluster://till:word@{}?ca={folder}/ca.pem", hosts.join(","));
    let (shop, provider) = (login_shop(), provider());
    let login = "[[site.login]]\npath = \"/login\"\naccount_field = \"email\"";
    let tables = format!("{}\n[counters]\nstore = \"{url}\"\n", vault(&url, ""));
    let sidecar = Setup::new(&shop).gateway("pay", &provider).site(login).tables(&tables).start();
    assert_eq!(log_in(&mut sidecar.http(), "ada", "right"), 302);
    assert_eq!(log_in(&mut sidecar.http(), "ada", "wrong"), 401);
    let card = cards::fresh("amex");
    let paid = sidecar.http().form("/pay", &format!("number={card}&cvv=9041&word=right"));
    assert_eq!(paid.status, 302);
    let kept: Vec<_> = cluster.servers().iter().map(|server| server.cli(&["--scan"])).collect();
    assert!([LOGINS, CODES].iter().all(|keys| kept.iter().any(|kept| kept.contains(keys))));
    assert!(sidecar.metric("tillgate_counters_degraded", &[]) < 0.5);
}
