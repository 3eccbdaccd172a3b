use time::Duration;

use super::super::sign::sign;
use super::super::wanted::Stores;
use super::*;
use crate::authority::{Revocation, Subject};
use crate::certificate::CertificateSpec;
use certs::{AltName, KeyKind, Reason, Usage};
use model::identity::TrustDomain;
use zeroize::Zeroizing;

const NOW: OffsetDateTime = time::macros::datetime!(2026-11-01 12:00 UTC);

struct Case {
    certificate: Certificate,
    wanted: Wanted,
    authority: State,
}

impl Case {
    fn new() -> Self {
        let spec: CertificateSpec =
            serde_json::from_value(serde_json::json!({"secretName": "web-tls"})).unwrap();
        let mut certificate = Certificate::new("web", spec);
        certificate.metadata.namespace = Some("shop".to_owned());
        certificate.metadata.uid = Some("u-1".to_owned());
        let mut wanted = Wanted::of(&certificate.spec, &crate::lifetimes::Lifetimes::default()).unwrap();
        wanted.names = vec![AltName::dns("web").unwrap(), AltName::dns("web.shop").unwrap()];
        Self { certificate, wanted, authority: State::new(TrustDomain::default(), NOW).unwrap() }
    }

    fn issued(&self, now: OffsetDateTime) -> Secret {
        let pair = sign(&self.wanted, &self.authority, now).unwrap();
        content::secret(&self.certificate, &self.wanted, &self.authority, &pair, 1, None).unwrap()
    }

    fn plan(&self, found: Option<&Secret>, now: OffsetDateTime) -> Result<Plan> {
        plan(&self.certificate, found, &self.wanted, &self.authority, now)
    }

    fn label(&self, found: &Secret, now: OffsetDateTime) -> &'static str {
        match self.plan(Some(found), now).unwrap() {
            Plan::Keep(_) => "keep",
            Plan::Write(..) => "write",
            Plan::Issue(why) => why.label,
        }
    }
}

fn stores() -> Option<Stores> {
    Some(Stores { pkcs12: true, jks: true, password: Zeroizing::new("changeit".to_owned()) })
}

#[test]
fn what_was_issued_is_kept_until_two_thirds_of_its_life() {
    let case = Case::new();
    assert!(
        matches!(case.plan(None, NOW).unwrap(), Plan::Issue(why) if why.label == "missing" && !why.again)
    );
    let secret = case.issued(NOW);
    assert_eq!(case.label(&secret, NOW), "keep");
    assert_eq!(case.label(&secret, NOW + Duration::days(56)), "keep");
    assert_eq!(case.label(&secret, NOW + Duration::days(64)), "due");
    assert_eq!(case.label(&secret, NOW + Duration::days(90)), "expired");
    assert_eq!(case.label(&secret, NOW - Duration::hours(1)), "early");
}

#[test]
fn every_form_is_kept_as_well() {
    let mut case = Case::new();
    case.wanted.combined = true;
    case.wanted.stores = stores();
    let secret = case.issued(NOW);
    assert_eq!(secret.data.as_ref().unwrap().len(), 8);
    assert_eq!(case.label(&secret, NOW), "keep");
    case.wanted.stores.as_mut().unwrap().password = Zeroizing::new("another".to_owned());
    assert_eq!(case.label(&secret, NOW), "write", "another password");
    case.wanted.stores = None;
    assert_eq!(case.label(&secret, NOW), "write", "not asked for any more");
}

#[test]
fn changed_wishes_give_a_new_certificate() {
    let case = Case::new();
    let secret = case.issued(NOW);
    let with = |change: &dyn Fn(&mut Wanted)| {
        let mut case = Case { authority: case.authority.clone(), ..Case::new() };
        change(&mut case.wanted);
        case.label(&secret, NOW)
    };
    assert_eq!(with(&|w| w.names.push(AltName::dns("more.example.com").unwrap())), "names");
    assert_eq!(with(&|w| w.names.reverse()), "keep", "the order means nothing");
    assert_eq!(with(&|w| w.usage = Usage::Server), "usage");
    assert_eq!(with(&|w| w.key = KeyKind::P384), "key");
    assert_eq!(with(&|w| w.lifetime = Duration::days(1)), "lifetime");
    assert_eq!(with(&|w| w.stores = stores()), "write");
}

#[test]
fn what_is_damaged_or_does_not_belong_together_is_issued_again() {
    let case = Case::new();
    let good = case.issued(NOW);
    let other = case.issued(NOW);
    let with = |key: &str, value: Option<&[u8]>| {
        let mut secret = good.clone();
        let data = secret.data.as_mut().unwrap();
        match value {
            Some(value) => data.insert(key.to_owned(), ByteString(value.to_vec())),
            None => data.remove(key),
        };
        case.label(&secret, NOW)
    };
    let other_key = other.data.as_ref().unwrap()["tls.key"].0.clone();
    assert_eq!(with("tls.key", Some(&other_key)), "damaged", "a mismatched pair");
    assert_eq!(with("tls.key", None), "damaged");
    assert_eq!(with("tls.key", Some(b"")), "damaged");
    assert_eq!(with("tls.crt", Some(b"\xff\xfe")), "damaged");
    assert_eq!(with("tls.crt", None), "damaged");
    assert_eq!(with("ca.crt", None), "write");
    assert_eq!(with("ca.crt", Some(b"other")), "write");
    let leaf_alone = certificates_pem(&good, 1);
    assert_eq!(with("tls.crt", Some(leaf_alone.as_bytes())), "write", "without its intermediate");
    assert_eq!(with("keystore.jks", Some(b"x")), "write", "nobody asked for it");
    let mut foreign = Case::new().issued(NOW);
    foreign.metadata = good.metadata.clone();
    assert_eq!(case.label(&foreign, NOW), "foreign", "another authority's");
}

fn certificates_pem(secret: &Secret, count: usize) -> String {
    let text = String::from_utf8(secret.data.as_ref().unwrap()["tls.crt"].0.clone()).unwrap();
    let ders = certs::certificates_of_pem(&text).unwrap();
    ders.iter().take(count).map(|der| certs::pem("CERTIFICATE", der)).collect()
}

#[test]
fn what_is_not_ours_is_refused() {
    let case = Case::new();
    let refused = |change: &dyn Fn(&mut Secret)| {
        let mut secret = case.issued(NOW);
        change(&mut secret);
        case.plan(Some(&secret), NOW).unwrap_err().to_string()
    };
    assert!(refused(&|s| s.metadata.labels = None).contains("somebody else made it"));
    assert!(refused(&|s| s.metadata.annotations = None).contains("whose it is"));
    let of_another = |s: &mut Secret| {
        let all = s.metadata.annotations.as_mut().unwrap();
        all.insert(annotation::CERTIFICATE.to_owned(), "api".to_owned());
    };
    assert!(refused(&of_another).contains("belongs to the Certificate api"));
    assert!(refused(&|s| s.type_ = Some("Opaque".to_owned())).contains("has the type Opaque"));
}

#[test]
fn a_changed_record_is_written_again_without_a_new_certificate() {
    let case = Case::new();
    let with = |change: &dyn Fn(&mut Secret)| {
        let mut secret = case.issued(NOW);
        change(&mut secret);
        case.label(&secret, NOW)
    };
    assert_eq!(with(&|s| s.metadata.owner_references = None), "write");
    assert_eq!(
        with(&|s| {
            s.metadata.annotations.as_mut().unwrap().remove(annotation::LIFETIME);
        }),
        "write"
    );
    assert_eq!(
        with(&|s| {
            s.metadata.labels.as_mut().unwrap().insert("team".to_owned(), "a".to_owned());
        }),
        "keep",
        "others may add labels"
    );
}

#[test]
fn a_rotation_first_changes_the_bundle_and_then_the_certificate() {
    let mut case = Case::new();
    let secret = case.issued(NOW);
    case.authority = case.authority.start(Subject::Root, NOW).unwrap();
    assert_eq!(case.label(&secret, NOW), "write");
    case.authority = case.authority.confirm(NOW).unwrap().switch(NOW).unwrap();
    assert_eq!(case.label(&secret, NOW), "rotated");
    let renewed = case.issued(NOW);
    assert_eq!(case.label(&renewed, NOW), "keep");
    case.authority = case.authority.retire(&[], true, NOW).unwrap();
    assert_eq!(case.label(&renewed, NOW), "write");
    assert_eq!(case.label(&secret, NOW), "foreign", "of an authority that is trusted no more");
}

#[test]
fn the_bundle_changes_also_while_nothing_can_be_issued() {
    let mut case = Case::new();
    let secret = case.issued(NOW);
    let late = NOW + Duration::days(4000);
    let stale = |case: &Case, found: &Secret| stale_bundle(&case.certificate, found, &case.authority);
    assert!(stale(&case, &secret).unwrap().is_none());
    assert!(sign(&case.wanted, &case.authority, late).is_err(), "the root has ended");
    case.authority = case.authority.start(Subject::Root, late).unwrap();
    assert_eq!(case.label(&secret, late), "expired");
    let pair = stale(&case, &secret).unwrap().unwrap();
    let written = content::secret(&case.certificate, &case.wanted, &case.authority, &pair, 1, None).unwrap();
    let key = |secret: &Secret, key: &str| secret.data.as_ref().unwrap()[key].0.clone();
    assert_eq!(key(&written, "tls.crt"), key(&secret, "tls.crt"));
    assert_eq!(key(&written, "ca.crt"), case.authority.trust_bundle_pem().into_bytes());
    assert!(stale(&case, &written).unwrap().is_none());
    let mut foreign = secret;
    foreign.metadata.labels = None;
    assert!(stale(&case, &foreign).is_err());
}

#[test]
fn a_revoked_certificate_is_replaced() {
    let mut case = Case::new();
    let secret = case.issued(NOW);
    let Plan::Keep(pair) = case.plan(Some(&secret), NOW).unwrap() else { panic!("it is good") };
    let revocation = Revocation {
        issuer: "intermediate-1".to_owned(),
        reason: Reason::KeyCompromise,
        at: NOW,
        not_after: pair.not_after,
    };
    case.authority = case.authority.revoke(pair.serial, revocation);
    assert_eq!(case.label(&secret, NOW), "revoked");
}

#[test]
fn no_leaf_outlives_its_issuer_and_none_is_too_short() {
    let mut case = Case::new();
    case.wanted.lifetime = Duration::days(3000);
    let pair = sign(&case.wanted, &case.authority, NOW).unwrap();
    let end = case.authority.active().unwrap().0.certificate.not_after;
    assert_eq!(pair.not_after, end);
    // Kept although it is shorter than it was asked for: it cannot be longer.
    assert_eq!(case.label(&case.issued(NOW), NOW), "keep");
    let late = end - Duration::seconds(59);
    let error = sign(&case.wanted, &case.authority, late).unwrap_err();
    assert!(matches!(error, Error::IssuerEnds { .. }), "{error}");
}

#[test]
fn the_common_name_is_one_that_was_granted() {
    let mut case = Case::new();
    case.wanted.names = vec![AltName::uri("spiffe://cluster.local/ns/shop/sa/front").unwrap()];
    let pair = sign(&case.wanted, &case.authority, NOW).unwrap();
    let seen = certs::inspect::certificate(&pair.chain[0]).unwrap();
    assert_eq!(seen.common_name.as_deref(), Some("system:serviceaccount:shop:front"));
    case.wanted.names.push(AltName::dns("web").unwrap());
    let pair = sign(&case.wanted, &case.authority, NOW).unwrap();
    assert_eq!(certs::inspect::certificate(&pair.chain[0]).unwrap().common_name.as_deref(), Some("web"));
}
