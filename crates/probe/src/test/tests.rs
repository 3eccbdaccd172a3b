use super::*;

fn row(verdict: Verdict) -> Row {
    let spec = check::find("no-certificate").unwrap();
    match verdict {
        Verdict::Ok => Row::said(spec, Some(Version::Tls13), "refused, certificate_required (116)", true),
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
        failed: 1,
        skipped: 1,
        milliseconds: 5,
        rows: vec![row(Verdict::Ok), row(Verdict::Fail), row(Verdict::Skipped)],
    };
    let xml = report.junit();
    assert!(!xml.contains("<HTTP>") && !xml.contains('\u{1}') && xml.contains("&lt;HTTP&gt;"), "{xml}");
    assert!(xml.contains("failures=\"1\" skipped=\"1\"") && xml.contains("HF5001"), "{xml}");
    assert!(!report.is_good());
}

#[test]
fn statuses_of_a_refusal_are_told_from_those_of_an_application() {
    use crate::attempt::Answer;
    for (status, refused) in [
        (400, true),
        (403, true),
        (421, true),
        (495, true),
        (401, false),
        (404, false),
        (200, false),
        (502, false),
    ] {
        let end = End::Answered(Answer::Http(status, None));
        assert_eq!((end.is_refused(), end.is_accepted()), (refused, !refused), "{status}");
    }
    assert!(End::Closed.is_refused() && !End::Silent.is_refused() && !End::Silent.is_accepted());
}
