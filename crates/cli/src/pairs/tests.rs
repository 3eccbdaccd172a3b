use testkit::pki::Pki;

use super::*;

fn look(chain: &Path, key: &Path) -> Vec<(bool, bool, &'static str)> {
    let files = CertificateFiles { chain: chain.into(), key: key.into(), password_file: None };
    Pairs
        .look(Path::new("/"), &files, true)
        .into_iter()
        .map(|seen| (seen.warning, seen.of_key, seen.code.id))
        .collect()
}

#[test]
fn a_pair_is_judged_as_the_proxy_judges_it_and_its_chain_as_lint_does() {
    let pki = Pki::new();
    // A leaf that stands alone may come from a root that peers have, or not.
    let alone = (true, false, codes::LINT_INTERMEDIATE_MISSING.id);
    assert_eq!(look(&pki.server.chain, &pki.server.key), [alone]);
    assert_eq!(look(&pki.server.chain, &pki.good.key), [(false, true, serving::KEY_MISMATCH.id), alone]);
    assert_eq!(
        look(&pki.server.chain, &pki.server.chain),
        [(false, true, serving::KEY_UNREADABLE.id), alone]
    );
    assert!(!look(&pki.good.chain, &pki.good.key).contains(&alone), "its intermediate follows");
    let expired = look(&pki.file("expired.crt"), &pki.file("expired.key"));
    assert!(expired.contains(&(true, false, serving::CERTIFICATE_SERVED_EXPIRED.id)), "{expired:?}");
    assert!(!expired.contains(&(true, false, codes::LINT_EXPIRED.id)), "said once: {expired:?}");
}
