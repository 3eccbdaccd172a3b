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

/// As if the process had died between the commit of the mark and the signing of the list.
fn mark_only(ca: &mut Authority, serial: &Serial, at: OffsetDateTime) {
    let (serial, at) = (serial.to_string(), at.unix_timestamp());
    ca.ledger
        .change(|tx| {
            tx.execute("UPDATE certificate SET revoked_at = ?2, reason = 1 WHERE serial = ?1", (serial, at))?;
            Ok(tx.execute("UPDATE authority SET crl_at = NULL WHERE name = 'intermediate-1'", [])?)
        })
        .unwrap();
}

fn on_the_list(dir: &std::path::Path, authority: &str, serial: &Serial) -> bool {
    let der = std::fs::read(dir.join(format!("crl/{authority}.crl"))).unwrap();
    let (_, crl) = x509_parser::revocation_list::CertificateRevocationList::from_der(&der).unwrap();
    let all = std::fs::read_to_string(dir.join("crl.pem")).unwrap();
    assert!(all.contains(&pem("X509 CRL", &der)), "crl.pem lacks the list of {authority}");
    crl.iter_revoked_certificates().any(|entry| Serial::from_bytes(entry.raw_serial()) == *serial)
}

#[test]
fn a_revocation_that_was_interrupted_is_published_at_the_next_opening() {
    let dir = tempfile::tempdir().unwrap();
    let now = OffsetDateTime::now_utc();
    let mut ca = Authority::init(dir.path(), &InitOptions::default(), "me", now).unwrap();
    let web = ca.issue(&Request::new("web").with(AltName::dns("web.test").unwrap()), "me", now).unwrap();
    mark_only(&mut ca, &web.serial, now);
    assert!(Authority::lists(&ca.ledger, now).unwrap().iter().any(|list| list.outdated));
    assert!(!on_the_list(dir.path(), "intermediate-1", &web.serial));
    // Told that it is revoked already, one may rely on it.
    assert!(matches!(
        ca.revoke(&web.serial, Reason::Unspecified, "me", now),
        Err(Error::AlreadyRevoked { .. })
    ));
    assert!(on_the_list(dir.path(), "intermediate-1", &web.serial));

    let api = ca.issue(&Request::new("api").with(AltName::dns("api.test").unwrap()), "me", now).unwrap();
    mark_only(&mut ca, &api.serial, now);
    drop(ca);
    let ca = Authority::open(dir.path()).unwrap();
    assert!(on_the_list(dir.path(), "intermediate-1", &api.serial));
    assert!(Authority::lists(&ca.ledger, now).unwrap().iter().all(|list| !list.outdated));
    // A kill between the signing and the files leaves old files.
    drop(ca);
    std::fs::remove_file(dir.path().join("crl.pem")).unwrap();
    std::fs::write(dir.path().join("crl/intermediate-1.crl"), b"old").unwrap();
    drop(Authority::open(dir.path()).unwrap());
    assert!(on_the_list(dir.path(), "intermediate-1", &api.serial));
}

#[test]
fn a_retired_intermediates_list_goes_on_until_its_certificate_ends() {
    let dir = tempfile::tempdir().unwrap();
    let now = OffsetDateTime::now_utc();
    let mut ca = Authority::init(dir.path(), &InitOptions::default(), "me", now).unwrap();
    let web = ca.issue(&Request::new("web").with(AltName::dns("web.test").unwrap()), "me", now).unwrap();
    ca.revoke(&web.serial, Reason::KeyCompromise, "me", now).unwrap();
    ca.rotate_start(crate::rotate::Subject::Intermediate, "me", now).unwrap();
    ca.rotate_confirm(&[], true, "me", now).unwrap();
    ca.rotate_switch("me", now).unwrap();
    ca.rotate_retire("me", now).unwrap();
    assert!(on_the_list(dir.path(), "intermediate-1", &web.serial));
    // It is renewed like the others.
    let later = now + Duration::days(30);
    let lists = ca.publish_lists(later, false).unwrap();
    let list = lists.iter().find(|list| list.authority == "intermediate-1").unwrap();
    assert!(list.retired && list.next_update > later);
    assert!(on_the_list(dir.path(), "intermediate-1", &web.serial));
    // Without its key the others go on.
    std::fs::remove_file(ca.layout().key("intermediate-1")).unwrap();
    let names = |lists: &[List]| lists.iter().map(|list| list.authority.clone()).collect::<Vec<_>>();
    let lists = ca.publish_lists(later + Duration::days(30), false).unwrap();
    assert_eq!(names(&lists), ["root-1", "intermediate-2"]);
    let ended = ca.publish_lists(now + Duration::days(1826), false).unwrap();
    assert!(!names(&ended).contains(&"intermediate-1".to_owned()));
}

#[test]
fn a_list_is_read_back_only_when_its_authority_signed_it() {
    let dir = tempfile::tempdir().unwrap();
    let made = |name: &str| {
        let path = dir.path().join(name);
        Authority::init(&path, &InitOptions::default(), "test", now()).unwrap()
    };
    let (ours, theirs) = (made("ours"), made("theirs"));
    let (ours, theirs) = (&ours.key, &theirs.key);
    let serial = Serial::random().unwrap();
    let revoked = Revoked {
        serial: serial.clone(),
        at: now(),
        reason: Reason::KeyCompromise,
        not_after: now() + Duration::DAY,
    };
    let list = List::sign("intermediate-1", 300, ours, &[revoked], now()).unwrap();
    let (read, serials) = List::read("intermediate-1", &list.to_pem(), ours.certificate()).unwrap();
    assert_eq!((read.number, read.this_update, read.next_update), (300, list.this_update, list.next_update));
    assert_eq!(serials, [serial]);
    assert!(List::read("intermediate-1", &list.to_pem(), theirs.certificate()).is_err(), "another authority");
    assert!(List::read("intermediate-1", "nothing", ours.certificate()).is_err());
}
