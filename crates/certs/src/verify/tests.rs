use model::codes::refusals as code;
use proptest::prelude::*;
use rustls_pki_types::ServerName;

use super::*;
use crate::fixtures::{CA, CLIENT, Pki, SERVER, days_from_now};

fn now() -> UnixTime {
    days_from_now(0)
}

fn client() -> Options<'static> {
    Options::client(now())
}

fn refused(chain: &[CertificateDer<'_>], trust: &Trust, options: &Options<'_>) -> Rejection {
    verify(chain, trust, options).expect_err("the chain must be refused")
}

fn assert_code(rejection: &Rejection, expected: &'static Code) {
    assert_eq!(
        rejection.code.id, expected.id,
        "{} - {}: {:?}",
        rejection.code.label, rejection.what, rejection
    );
}

/// root -> intermediate -> client, and what is needed to go wrong with it.
struct Three {
    pki: Pki,
    root: CertificateDer<'static>,
    intermediate: CertificateDer<'static>,
    leaf: CertificateDer<'static>,
}

fn three() -> Three {
    let pki = Pki::new();
    let root = pki.root("root", "/CN=Root");
    let intermediate = pki.issue("intermediate", "root", "/CN=Intermediate", CA);
    let leaf = pki.issue("leaf", "intermediate", "/CN=leaf", CLIENT);
    Three { pki, root, intermediate, leaf }
}

impl Three {
    fn trust(&self) -> Trust {
        Trust::new(std::slice::from_ref(&self.root)).unwrap()
    }

    fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![self.leaf.clone(), self.intermediate.clone()]
    }
}

#[test]
fn a_good_chain_is_accepted_and_its_path_is_told() {
    let t = three();
    let verified = verify_client(&t.chain(), &t.trust(), &client()).unwrap();
    assert_eq!(verified.anchor, t.root);
    assert_eq!(verified.intermediates, std::slice::from_ref(&t.intermediate));
    assert!(verified.revocation_unknown.is_none());
    // Needless certificates and a wrong order do no harm.
    let other = t.pki.root("other", "/CN=Other");
    let chain = [t.leaf.clone(), other, t.root.clone(), t.intermediate.clone()];
    verify_client(&chain, &t.trust(), &client()).unwrap();
}

#[test]
fn nothing_at_all_is_a_missing_certificate() {
    let rejection = refused(&[], &Trust::default(), &client());
    assert_code(&rejection, &code::CLIENT_CERTIFICATE_MISSING);
    assert_eq!(rejection.alert(), Alert::CertificateRequired);
}

#[test]
fn strangers_are_unknown_whatever_else_is_wrong_with_them() {
    let t = three();
    t.pki.key("self", "P-256");
    let plain = t.pki.self_signed("self", "/CN=self", CLIENT, 30);
    // What `openssl req -x509` makes by default: self-signed with CA:TRUE.
    let as_ca = t.pki.self_signed("self", "/CN=self", CA, 30);
    let v1 = t.pki.self_signed("self", "/CN=self", "", 30);
    for cert in [plain, as_ca, v1] {
        let rejection = refused(std::slice::from_ref(&cert), &t.trust(), &client());
        assert_code(&rejection, &code::UNKNOWN_ISSUER);
        assert!(rejection.what.contains("signed by itself"), "{}", rejection.what);
        assert_eq!(rejection.alert(), Alert::UnknownCa);
        let late = Options { now: days_from_now(60), ..client() };
        assert_code(&refused(&[cert], &t.trust(), &late), &code::UNKNOWN_ISSUER);
    }
    t.pki.root("foreign", "/CN=Foreign");
    let foreign = t.pki.issue("stray", "foreign", "/CN=leaf", CLIENT);
    let rejection = refused(&[foreign], &t.trust(), &client());
    assert_code(&rejection, &code::UNKNOWN_ISSUER);
    assert!(rejection.what.contains("Foreign"), "{}", rejection.what);
}

#[test]
fn an_authority_of_the_same_name_with_another_key_is_unknown_and_named_so() {
    let t = three();
    let twin = Pki::new();
    let twin_root = twin.root("root", "/CN=Root");
    let leaf = twin.issue("leaf", "root", "/CN=leaf", CLIENT);
    let rejection = refused(&[leaf.clone(), twin_root], &t.trust(), &client());
    assert_code(&rejection, &code::UNKNOWN_ISSUER);
    assert!(rejection.what.contains("also named"), "{}", rejection.what);
    // The same without key identifiers.
    twin.key("bare", "P-256");
    let extensions = CLIENT.replace("authorityKeyIdentifier=keyid\n", "authorityKeyIdentifier=none\n");
    let bare = twin.sign("bare", Some("root"), "/CN=bare", &extensions, &["-days", "9"]);
    assert_code(&refused(&[bare], &t.trust(), &client()), &code::UNKNOWN_ISSUER);
}

#[test]
fn a_missing_intermediate_is_named_when_it_is_known() {
    let t = three();
    let alone = std::slice::from_ref(&t.leaf);
    assert_code(&refused(alone, &t.trust(), &client()), &code::UNKNOWN_ISSUER);
    let trust = t.trust().with_known_intermediates(std::slice::from_ref(&t.intermediate));
    let rejection = refused(alone, &trust, &client());
    assert_code(&rejection, &code::INTERMEDIATE_MISSING);
    assert_eq!(rejection.alert(), Alert::UnknownCa);
    assert!(rejection.what.contains("CN=Intermediate"), "{}", rejection.what);
    // In the file of trusted authorities it completes the chain instead, as with nginx.
    let both = Trust::new(&[t.root.clone(), t.intermediate.clone()]).unwrap();
    verify_client(alone, &both, &client()).unwrap();
    // It is no anchor by itself there, so its own expiry counts.
    let late = Options { now: days_from_now(89), ..client() };
    verify_client(alone, &both, &late).unwrap();
    let rejection = refused(alone, &both, &Options { now: days_from_now(91), ..client() });
    assert_code(&rejection, &code::CERTIFICATE_EXPIRED);
}

#[test]
fn expired_and_not_yet_valid_are_two_reasons() {
    let t = three();
    let rejection = refused(&t.chain(), &t.trust(), &Options { now: days_from_now(100), ..client() });
    assert_code(&rejection, &code::CERTIFICATE_EXPIRED);
    assert_eq!(rejection.alert(), Alert::CertificateExpired);
    assert!(rejection.evidence.iter().any(|(name, _)| *name == "not after"));
    assert!(rejection.evidence.iter().any(|(name, value)| *name == "subject" && value == "CN=leaf"));
    let rejection = refused(&t.chain(), &t.trust(), &Options { now: days_from_now(-2), ..client() });
    assert_code(&rejection, &code::CERTIFICATE_NOT_YET_VALID);
    assert_eq!(rejection.alert(), Alert::CertificateExpired);
}

#[test]
fn an_expired_root_is_refused_though_webpki_would_not_mind() {
    let pki = Pki::new();
    pki.key("root", "P-256");
    let root = pki.self_signed("root", "/CN=Short Root", CA, 5);
    let leaf = pki.issue("leaf", "root", "/CN=leaf", CLIENT);
    let trust = Trust::new(&[root]).unwrap();
    verify(std::slice::from_ref(&leaf), &trust, &client()).unwrap();
    let late = Options { now: days_from_now(6), ..client() };
    let rejection = refused(std::slice::from_ref(&leaf), &trust, &late);
    assert_code(&rejection, &code::CERTIFICATE_EXPIRED);
    assert!(rejection.what.contains("Short Root"), "{}", rejection.what);
    // The same root, renewed with the same key: the new one stands in.
    let renewed = pki.self_signed("root", "/CN=Short Root", CA, 50);
    let both = Trust::new(&[trust.roots()[0].clone(), renewed.clone()]).unwrap();
    assert_eq!(verify(&[leaf], &both, &late).unwrap().anchor, renewed);
}

#[test]
fn the_wrong_purpose_is_refused_both_ways() {
    let t = three();
    let server = t.pki.issue("server", "intermediate", "/CN=server", SERVER);
    let rejection = refused(&[server.clone(), t.intermediate.clone()], &t.trust(), &client());
    assert_code(&rejection, &code::WRONG_USAGE);
    assert_eq!(rejection.alert(), Alert::UnsupportedCertificate);
    let name = ServerName::try_from("server.example").unwrap();
    let as_server = Options::server(now(), Some(&name));
    verify(&[server, t.intermediate.clone()], &t.trust(), &as_server).unwrap();
    assert_code(&refused(&t.chain(), &t.trust(), &Options::server(now(), None)), &code::WRONG_USAGE);
    let silent = CLIENT.replace("digitalSignature", "keyEncipherment");
    let silent = t.pki.issue("silent", "intermediate", "/CN=silent", &silent);
    assert_code(&refused(&[silent, t.intermediate.clone()], &t.trust(), &client()), &code::WRONG_USAGE);
}

#[test]
fn a_name_that_does_not_match_lists_the_names_that_do() {
    let t = three();
    let server = t.pki.issue("server", "intermediate", "/CN=server", SERVER);
    let chain = [server, t.intermediate.clone()];
    for good in ["server.example", "a.wild.example", "127.0.0.1"] {
        let name = ServerName::try_from(good).unwrap();
        verify(&chain, &t.trust(), &Options::server(now(), Some(&name))).unwrap();
    }
    for bad in ["other.example", "a.b.wild.example", "wild.example", "127.0.0.2", "::1"] {
        let name = ServerName::try_from(bad).unwrap();
        let rejection = refused(&chain, &t.trust(), &Options::server(now(), Some(&name)));
        assert_code(&rejection, &code::SERVER_NAME_MISMATCH);
        assert_eq!(rejection.alert(), Alert::BadCertificate);
        let listed = rejection.evidence.iter().find(|(name, _)| *name == "valid for").unwrap();
        assert!(listed.1.contains("server.example"), "{listed:?}");
    }
}

#[test]
fn a_ca_certificate_is_no_leaf() {
    let t = three();
    let rejection = refused(std::slice::from_ref(&t.intermediate), &t.trust(), &client());
    assert_code(&rejection, &code::CA_AS_LEAF);
    assert_code(&refused(std::slice::from_ref(&t.root), &t.trust(), &client()), &code::CA_AS_LEAF);
}

#[test]
fn a_leaf_signs_nothing() {
    let t = three();
    let below = t.pki.issue("below", "leaf", "/CN=below", CLIENT);
    let chain = [below, t.leaf.clone(), t.intermediate.clone()];
    let rejection = refused(&chain, &t.trust(), &client());
    assert_code(&rejection, &code::UNKNOWN_ISSUER);
    assert!(rejection.what.contains("not a certificate authority"), "{}", rejection.what);
}

#[test]
fn path_length_and_depth_are_kept() {
    let pki = Pki::new();
    let root = pki.root("root", "/CN=Root");
    let short = CA.replace("CA:TRUE", "CA:TRUE,pathlen:0");
    let first = pki.issue("first", "root", "/CN=First", &short);
    let second = pki.issue("second", "first", "/CN=Second", CA);
    let leaf = pki.issue("leaf", "second", "/CN=leaf", CLIENT);
    let trust = Trust::new(&[root]).unwrap();
    assert_code(&refused(&[leaf, second, first], &trust, &client()), &code::PATH_TOO_LONG);

    let t = three();
    let one = Options { depth: Some(1), ..client() };
    verify(&t.chain(), &t.trust(), &one).unwrap();
    let rejection = refused(&t.chain(), &t.trust(), &Options { depth: Some(0), ..client() });
    assert_code(&rejection, &code::PATH_TOO_LONG);
    assert!(rejection.evidence.iter().any(|(name, _)| *name == "serial"));
}

#[test]
fn name_constraints_bind() {
    let t = three();
    let constrained = format!("{CA}nameConstraints=critical,permitted;DNS:inside.example\n");
    let narrow = t.pki.issue("narrow", "root", "/CN=Narrow", &constrained);
    let outside = t.pki.issue("outside", "narrow", "/CN=outside", SERVER);
    let rejection = refused(&[outside, narrow.clone()], &t.trust(), &Options::server(now(), None));
    assert_code(&rejection, &code::NAME_CONSTRAINT);
    let inside = SERVER.replace("DNS:server.example,DNS:*.wild.example,IP:127.0.0.1", "DNS:a.inside.example");
    let inside = t.pki.issue("inside", "narrow", "/CN=inside", &inside);
    verify(&[inside, narrow], &t.trust(), &Options::server(now(), None)).unwrap();
}

#[test]
fn weak_keys_are_refused_in_leaf_issuer_and_root() {
    let t = three();
    for (name, kind) in
        [("rsa1024", "RSA:1024"), ("p192", "prime192v1"), ("k1", "secp256k1"), ("p224", "secp224r1")]
    {
        t.pki.key(name, kind);
        let cert = t.pki.sign(name, Some("intermediate"), "/CN=weak", CLIENT, &["-days", "9"]);
        let rejection = refused(&[cert, t.intermediate.clone()], &t.trust(), &client());
        assert_code(&rejection, &code::WEAK_KEY);
        assert_eq!(rejection.alert(), Alert::UnsupportedCertificate);
    }
    for (name, kind) in [("rsa2048", "RSA:2048"), ("p384", "P-384"), ("p521", "P-521"), ("ed", "ED25519")] {
        t.pki.key(name, kind);
        let cert = t.pki.sign(name, Some("intermediate"), "/CN=strong", CLIENT, &["-days", "9"]);
        verify(&[cert, t.intermediate.clone()], &t.trust(), &client()).unwrap();
    }
    t.pki.key("weakca", "RSA:1024");
    let weak = t.pki.sign("weakca", Some("root"), "/CN=Weak CA", CA, &["-days", "9"]);
    let leaf = t.pki.issue("under", "weakca", "/CN=under", CLIENT);
    let rejection = refused(&[leaf.clone(), weak.clone()], &t.trust(), &client());
    assert_code(&rejection, &code::WEAK_KEY);
    assert!(rejection.what.contains("1024"), "{}", rejection.what);
    assert_code(&refused(&[leaf], &Trust::new(&[weak]).unwrap(), &client()), &code::WEAK_KEY);
}

#[test]
fn sha1_is_refused_in_leaf_and_intermediate() {
    let t = three();
    t.pki.key("old", "P-256");
    let old = t.pki.sign("old", Some("intermediate"), "/CN=old", CLIENT, &["-days", "9", "-sha1"]);
    let rejection = refused(&[old, t.intermediate.clone()], &t.trust(), &client());
    assert_code(&rejection, &code::WEAK_SIGNATURE);
    assert!(rejection.what.contains("SHA-1"), "{}", rejection.what);
    t.pki.key("oldca", "P-256");
    let old = t.pki.sign("oldca", Some("root"), "/CN=Old CA", CA, &["-days", "9", "-sha1"]);
    let leaf = t.pki.issue("under", "oldca", "/CN=under", CLIENT);
    let rejection = refused(&[leaf, old], &t.trust(), &client());
    assert_code(&rejection, &code::WEAK_SIGNATURE);
    assert!(rejection.what.contains("Old CA"), "{}", rejection.what);
}

#[test]
fn version_1_is_refused_with_its_own_reason() {
    let t = three();
    t.pki.key("v1", "P-256");
    let v1 = t.pki.sign("v1", Some("intermediate"), "/CN=v1", "", &["-days", "9"]);
    let rejection = refused(&[v1, t.intermediate.clone()], &t.trust(), &client());
    assert_code(&rejection, &code::X509_V1);
    assert!(rejection.what.contains("version 1"), "{}", rejection.what);
}

#[test]
fn a_critical_extension_that_is_not_known_is_refused() {
    let t = three();
    let strange = format!("{CLIENT}1.2.3.4.5=critical,ASN1:UTF8String:x\n");
    let cert = t.pki.issue("strange", "intermediate", "/CN=strange", &strange);
    let rejection = refused(&[cert, t.intermediate.clone()], &t.trust(), &client());
    assert_code(&rejection, &code::BAD_CERTIFICATE);
    assert_eq!(rejection.alert(), Alert::BadCertificate);
    assert!(rejection.what.contains("critical extension"), "{}", rejection.what);
}

#[test]
fn an_altered_certificate_is_refused() {
    let t = three();
    let mut bytes = t.leaf.to_vec();
    let name = bytes.windows(4).position(|window| window == b"leaf").unwrap();
    bytes[name] = b'L';
    let rejection = refused(&[bytes.into(), t.intermediate.clone()], &t.trust(), &client());
    assert_code(&rejection, &code::BAD_SIGNATURE);
    assert_eq!(rejection.alert(), Alert::DecryptError);
}

#[test]
fn revocation_is_required_skipped_or_fails_open() {
    let t = three();
    let require = Options { revocation: Revocation::Require, ..client() };
    let open = Options { revocation: Revocation::FailOpen, ..client() };
    // No list at all.
    let rejection = refused(&t.chain(), &t.trust(), &require);
    assert_code(&rejection, &code::REVOCATION_UNKNOWN);
    let passed = verify(&t.chain(), &t.trust(), &open).unwrap();
    assert_eq!(passed.revocation_unknown.unwrap().id, code::REVOCATION_UNKNOWN.id);
    // Without a list, what else is wrong still comes first.
    let late = Options { now: days_from_now(100), ..require.clone() };
    assert_code(&refused(&t.chain(), &t.trust(), &late), &code::CERTIFICATE_EXPIRED);
    let late = Options { now: days_from_now(100), ..open.clone() };
    assert_code(&refused(&t.chain(), &t.trust(), &late), &code::CERTIFICATE_EXPIRED);

    // A list of one issuer only.
    let of_intermediate = t.pki.crl("intermediate", &[], 10);
    let trust = t.trust().with_crls(&[&of_intermediate]).unwrap();
    assert_code(&refused(&t.chain(), &trust, &require), &code::REVOCATION_UNKNOWN);
    verify(&t.chain(), &trust, &client()).unwrap();

    // Both lists.
    let of_root = t.pki.crl("root", &[], 10);
    let trust = t.trust().with_crls(&[&of_intermediate, &of_root]).unwrap();
    let good = verify(&t.chain(), &trust, &require).unwrap();
    assert!(good.revocation_unknown.is_none());
    assert!(verify(&t.chain(), &trust, &open).unwrap().revocation_unknown.is_none());
    // Stale.
    let stale = Options { now: days_from_now(11), ..require.clone() };
    let rejection = refused(&t.chain(), &trust, &stale);
    assert_code(&rejection, &code::REVOCATION_STALE);
    assert!(rejection.evidence.iter().any(|(name, _)| *name == "next update"));
    let stale_open = Options { now: days_from_now(11), ..open.clone() };
    let passed = verify(&t.chain(), &trust, &stale_open).unwrap();
    assert_eq!(passed.revocation_unknown.unwrap().id, code::REVOCATION_STALE.id);

    // Revoked: also on a stale list, also when failing open, and whatever the order of old and new.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let revoking = t.pki.crl("intermediate", &["leaf"], 10);
    for lists in [[&of_intermediate, &revoking, &of_root], [&revoking, &of_intermediate, &of_root]] {
        let trust = t.trust().with_crls(&lists).unwrap();
        for options in [&require, &open, &stale_open] {
            let rejection = refused(&t.chain(), &trust, options);
            assert_code(&rejection, &code::CERTIFICATE_REVOKED);
            assert_eq!(rejection.alert(), Alert::CertificateRevoked);
        }
    }
    // The intermediate itself is revoked.
    let against = t.pki.crl("root", &["intermediate"], 10);
    let trust = t.trust().with_crls(&[&of_intermediate, &against]).unwrap();
    assert_code(&refused(&t.chain(), &trust, &require), &code::CERTIFICATE_REVOKED);
    // Also when it stands in the file of trusted authorities.
    let both = Trust::new(&[t.root.clone(), t.intermediate.clone()]).unwrap();
    let both = both.with_crls(&[&of_intermediate, &against]).unwrap();
    assert_code(&refused(std::slice::from_ref(&t.leaf), &both, &require), &code::CERTIFICATE_REVOKED);
}

#[test]
fn lists_of_two_authorities_with_one_name_are_told_apart() {
    let (old, new) = (three(), three());
    let lists =
        [old.pki.crl("root", &[], 9), old.pki.crl("intermediate", &[], 9), new.pki.crl("root", &[], 9), {
            new.pki.crl("intermediate", &["leaf"], 9)
        }];
    let roots = [old.root.clone(), new.root.clone()];
    for turn in 0..4 {
        let mut lists = lists.clone();
        lists.rotate_left(turn);
        let trust = Trust::new(&roots).unwrap().with_crls(&lists).unwrap();
        let require = Options { revocation: Revocation::Require, ..client() };
        verify(&old.chain(), &trust, &require).unwrap();
        assert_code(&refused(&new.chain(), &trust, &require), &code::CERTIFICATE_REVOKED);
    }
}

#[test]
fn wrong_files_are_refused_when_they_are_loaded() {
    let t = three();
    assert!(matches!(Trust::new(std::slice::from_ref(&t.leaf)), Err(TrustError::NotAnAuthority { .. })));
    let garbage = CertificateDer::from(b"\x30\x03abc".to_vec());
    assert!(matches!(
        Trust::new(&[t.root.clone(), garbage]),
        Err(TrustError::Certificate { position: 2, .. })
    ));
    assert!(matches!(
        t.trust().with_crls(&[b"\x30\x00"]),
        Err(TrustError::RevocationList { position: 1, .. })
    ));
}

#[test]
fn too_many_certificates_are_not_even_read() {
    let t = three();
    let chain = vec![t.leaf.clone(); MAX_CHAIN + 1];
    assert_code(&refused(&chain, &t.trust(), &client()), &code::HANDSHAKE_TOO_LARGE);
}

#[test]
fn text_from_a_certificate_cannot_forge_a_log_line() {
    let t = three();
    let cert = t.pki.issue("forged", "leaf", "/CN=a\u{1b}[31m\u{7}b", CLIENT);
    let rejection = refused(&[cert], &t.trust(), &client());
    let all = format!("{} {:?}", rejection.what, rejection.evidence.iter().map(|e| &e.1).collect::<Vec<_>>());
    assert!(!rejection.what.contains('\u{1b}'), "{all:?}");
    assert!(rejection.evidence.iter().all(|(_, value)| !value.chars().any(char::is_control)), "{all:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
    #[test]
    fn garbage_never_panics_and_never_passes(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let rejection = verify(&[CertificateDer::from(bytes)], &Trust::default(), &client()).unwrap_err();
        prop_assert_eq!(rejection.code.id, code::BAD_CERTIFICATE.id);
    }
}

#[test]
fn a_certificate_with_any_byte_changed_never_passes() {
    let t = three();
    let trust = t.trust();
    for position in 0..t.leaf.len() {
        for flip in [0x01, 0x80] {
            let mut bytes = t.leaf.to_vec();
            bytes[position] ^= flip;
            let chain = [CertificateDer::from(bytes), t.intermediate.clone()];
            assert!(verify(&chain, &trust, &client()).is_err(), "byte {position} ^ {flip:#x} passed");
        }
    }
}
