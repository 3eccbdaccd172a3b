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
    assert_eq!(look(&pki.server.chain, &pki.server.key), []);
    assert_eq!(look(&pki.server.chain, &pki.good.key), [(false, true, serving::KEY_MISMATCH.id)]);
    assert_eq!(look(&pki.server.chain, &pki.server.chain), [(false, true, serving::KEY_UNREADABLE.id)]);
    let expired = look(&pki.file("expired.crt"), &pki.file("expired.key"));
    assert!(expired.contains(&(true, false, serving::CERTIFICATE_SERVED_EXPIRED.id)), "{expired:?}");
    let leaf = std::fs::read_to_string(&pki.server.chain).unwrap();
    let end = leaf.find("-----END CERTIFICATE-----").unwrap() + 26;
    let alone = pki.file("alone.crt");
    std::fs::write(&alone, &leaf[..end]).unwrap();
    assert_eq!(look(&alone, &pki.server.key), [(true, false, codes::LINT_INTERMEDIATE_MISSING.id)]);
}
