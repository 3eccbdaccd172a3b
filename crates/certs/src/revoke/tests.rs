use x509_parser::prelude::FromDer as _;

use super::*;
use crate::{AltName, InitOptions, Request};

fn now() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap()
}

fn number(list: &List) -> u64 {
    let (_, crl) = x509_parser::revocation_list::CertificateRevocationList::from_der(&list.der).unwrap();
    crl.crl_number().unwrap().iter_u64_digits().next().unwrap()
}

#[test]
fn the_number_only_grows_even_when_the_clock_goes_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut ca = Authority::init(dir.path(), &InitOptions::default(), "me", now()).unwrap();
    let mut last = 0;
    for at in [now(), now() + Duration::days(4), now() + Duration::hours(1), now() + Duration::days(9)] {
        let lists = ca.publish_lists(at, true).unwrap();
        let list = lists.iter().find(|list| list.authority == "intermediate-1").unwrap();
        assert_eq!(number(list), list.number);
        assert!(list.number > last);
        last = list.number;
    }
}

#[test]
fn a_list_is_signed_anew_only_when_it_is_due() {
    let dir = tempfile::tempdir().unwrap();
    let mut ca = Authority::init(dir.path(), &InitOptions::default(), "me", now()).unwrap();
    let first = ca.crl_pem(now()).unwrap();
    assert_eq!(ca.crl_pem(now() + Duration::days(3)).unwrap(), first);
    assert_ne!(ca.crl_pem(now() + Duration::days(4)).unwrap(), first);
}

#[test]
fn a_revoked_certificate_is_in_the_list_with_its_reason_and_only_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut ca = Authority::init(dir.path(), &InitOptions::default(), "me", now()).unwrap();
    let web = ca.issue(&Request::new("web").with(AltName::dns("web.test").unwrap()), "me", now()).unwrap();
    ca.revoke(&web.serial, Reason::KeyCompromise, "me", now()).unwrap();
    let again = ca.revoke(&web.serial, Reason::Superseded, "me", now());
    assert!(matches!(again, Err(Error::AlreadyRevoked { .. })));
    let der = std::fs::read(ca.layout().crl_of("intermediate-1")).unwrap();
    let (_, crl) = x509_parser::revocation_list::CertificateRevocationList::from_der(&der).unwrap();
    let revoked: Vec<_> = crl.iter_revoked_certificates().collect();
    assert_eq!(revoked.len(), 1);
    assert_eq!(Serial::from_bytes(revoked[0].raw_serial()), web.serial);
    assert_eq!(revoked[0].reason_code().unwrap().1.0, 1);
}

#[test]
fn a_root_cannot_be_revoked_and_a_revoked_intermediate_issues_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut ca = Authority::init(dir.path(), &InitOptions::default(), "me", now()).unwrap();
    let all = ca.members().unwrap();
    assert!(ca.revoke(&all[0].certificate.serial, Reason::CaCompromise, "me", now()).is_err());
    ca.revoke(&all[1].certificate.serial, Reason::CaCompromise, "me", now()).unwrap();
    let refused = ca.issue(&Request::new("web").with(AltName::dns("web.test").unwrap()), "me", now());
    assert!(matches!(refused, Err(Error::Unusable { .. })));
}

#[test]
fn reasons_are_read_as_people_write_them() {
    for text in ["keyCompromise", "key-compromise", "KEY_COMPROMISE"] {
        assert_eq!(text.parse::<Reason>().unwrap(), Reason::KeyCompromise);
    }
    for reason in Reason::ALL {
        assert_eq!(
            (reason.to_string().parse::<Reason>().unwrap(), Reason::of_number(reason.number())),
            (reason, reason)
        );
    }
    assert!("removeFromCRL".parse::<Reason>().is_err());
}
