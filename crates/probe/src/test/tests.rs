use super::*;

fn row(verdict: Verdict) -> Row {
    let spec = check::find("no-certificate").unwrap();
    match verdict {
        Verdict::Ok => Row::said(spec, Some(Version::Tls13), "refused, certificate_required (116)", true),
        Verdict::Warn => Row::said(spec, None, "refused", true).warning("but <how>"),
        Verdict::Fail => Row::said(spec, None, "accepted, <HTTP> \"200\" & more\u{1}", false),
        Verdict::Skipped => Row::skipped(spec, None, "no CA"),
    }
}

#[test]
fn every_row_has_an_id_and_a_finding_of_its_own() {
    let mut ids: Vec<_> = check::ALL.iter().map(|spec| spec.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), check::ALL.len());
    for spec in check::ALL {
        assert!(spec.finding.id.starts_with("HF50"), "{}", spec.id);
        assert!(
            spec.id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.')
        );
    }
}

#[test]
fn junit_is_well_formed_whatever_the_server_says() {
    let report = Report {
        version: 1,
        target: "127.0.0.1:1".into(),
        servername: "a&b".into(),
        expect: "mutual",
        spoken: vec![Version::Tls13],
        ok: 1,
        warned: 1,
        failed: 1,
        skipped: 1,
        milliseconds: 5,
        rows: [Verdict::Ok, Verdict::Warn, Verdict::Fail, Verdict::Skipped].map(row).to_vec(),
    };
    let xml = report.junit();
    assert!(!xml.contains("<HTTP>") && !xml.contains('\u{1}') && xml.contains("&lt;HTTP&gt;"), "{xml}");
    assert!(xml.contains("failures=\"1\" skipped=\"1\"") && xml.contains("HF5001"), "{xml}");
    assert!(xml.contains("<system-out>warning: but &lt;how&gt;</system-out>"), "{xml}");
    assert!(!report.is_good());
}

#[test]
fn a_status_refuses_only_who_was_asked_and_only_if_the_good_one_is_answered_otherwise() {
    use crate::attempt::Answer;
    use judge::{Judgement, judge};
    let http = |status| End::Answered(Answer::Http(status, None));
    let nginx = End::Answered(Answer::Http(400, Some("400 No required SSL certificate was sent".into())));
    let (ok, forbidden) = (http(200), http(403));
    for (end, handshake, asked, good, judgement) in [
        (&forbidden, true, false, None, Judgement::NeverAsked),
        (&forbidden, true, false, Some(&ok), Judgement::NeverAsked),
        (&forbidden, true, true, Some(&forbidden), Judgement::SameForAll),
        (&forbidden, true, true, Some(&ok), Judgement::Refused),
        (&forbidden, true, true, None, Judgement::Perhaps),
        (&nginx, true, true, None, Judgement::Refused),
        (&nginx, true, false, None, Judgement::NeverAsked),
        (&nginx, true, true, Some(&nginx), Judgement::Refused),
        (&ok, true, true, Some(&ok), Judgement::LetIn),
        (&http(404), true, true, None, Judgement::LetIn),
        (&http(502), true, true, None, Judgement::LetIn),
        (&End::Alert(crate::alert::Alert(116)), true, true, None, Judgement::Refused),
        (&End::Alert(crate::alert::Alert(40)), false, false, None, Judgement::Refused),
        (&End::Closed, true, false, None, Judgement::NeverAsked),
        (&End::Closed, true, true, None, Judgement::Refused),
        (&End::Silent, false, false, None, Judgement::Unknown),
        (&End::Local("x".into()), false, true, None, Judgement::Unknown),
    ] {
        assert_eq!(judge(end, handshake, asked, good), judgement, "{end:?} {handshake} {asked} {good:?}");
    }
    assert_eq!(judge::in_words(&forbidden, Judgement::NeverAsked), "answered, HTTP 403");
    assert_eq!(judge::in_words(&forbidden, Judgement::Refused), "refused, HTTP 403");
}

#[test]
fn an_alert_that_does_not_fit_its_cause_is_a_warning() {
    use crate::alert::Alert;
    for (id, version, alert, verdict) in [
        ("no-certificate", Version::Tls13, 116, Verdict::Ok),
        ("no-certificate", Version::Tls12, 40, Verdict::Ok),
        ("no-certificate", Version::Tls13, 40, Verdict::Warn),
        ("no-certificate", Version::Tls12, 42, Verdict::Warn),
        ("self-signed", Version::Tls13, 48, Verdict::Ok),
        ("self-signed", Version::Tls13, 46, Verdict::Ok),
        ("self-signed", Version::Tls13, 49, Verdict::Warn),
        ("expired", Version::Tls13, 42, Verdict::Warn),
        ("revoked", Version::Tls12, 45, Verdict::Warn),
        ("no-common-cipher", Version::Tls12, 40, Verdict::Ok),
        ("no-common-cipher", Version::Tls12, 71, Verdict::Ok),
        ("no-common-cipher", Version::Tls12, 49, Verdict::Warn),
        ("tls-1.0", Version::Tls12, 80, Verdict::Warn),
        ("oversized", Version::Tls13, 47, Verdict::Ok),
    ] {
        let row = Row::ended(check::find(id).unwrap(), Some(version), &End::Alert(Alert(alert)), true);
        assert_eq!(row.verdict, verdict, "{id} {version} {alert}");
        assert_eq!(row.warning.is_some(), verdict == Verdict::Warn);
    }
    let row = Row::ended(check::find("no-common-cipher").unwrap(), None, &End::Alert(Alert(49)), true);
    let warning = row.warning.unwrap();
    assert!(warning.contains("but with access_denied (49)"), "{warning}");
    assert!(warning.contains("handshake_failure (40) belongs"), "{warning}");
}
