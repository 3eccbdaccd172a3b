use super::*;
use crate::certificate::CertificateSpec;

const NOW: OffsetDateTime = time::macros::datetime!(2026-11-01 12:00 UTC);

fn certificate() -> Certificate {
    let spec: CertificateSpec = serde_json::from_value(serde_json::json!({"secretName": "s"})).unwrap();
    let mut certificate = Certificate::new("web", spec);
    certificate.metadata.generation = Some(1);
    certificate
}

#[test]
fn waiting_doubles_up_to_ten_minutes() {
    let seconds: Vec<u64> = [0, 1, 2, 3, 7, 8, 9, 100, i64::MAX].map(|n| wait(n).as_secs()).into();
    assert_eq!(seconds, [5, 5, 10, 20, 320, 600, 600, 600, 600]);
}

#[test]
fn failures_are_counted_until_the_spec_changes_and_the_condition_keeps_its_date() {
    let mut certificate = certificate();
    let error = Error::Name("there is no Service \"web\"".to_owned());
    for count in 1..4 {
        let status = failed(&certificate, &error, NOW + time::Duration::hours(count));
        assert_eq!(status.failures, Some(count));
        let condition = &status.conditions[0];
        assert_eq!((condition.status.as_str(), condition.reason.as_str()), ("False", "Refused"));
        assert!(condition.message.starts_with("HF7010: there is no Service"), "{}", condition.message);
        assert_eq!(condition.last_transition_time, time(NOW + time::Duration::hours(1)).unwrap());
        assert_eq!(is_news(&certificate, &status), count == 1);
        certificate.status = Some(status);
    }
    certificate.metadata.generation = Some(2);
    assert_eq!(failed(&certificate, &error, NOW).failures, Some(1));
}

#[test]
fn a_message_is_one_line_and_bounded() {
    let error = Error::Unreachable { action: "x".to_owned(), reason: "a\nb ".repeat(2000) };
    let text = message(&error);
    assert!(text.chars().count() < 1010 && !text.contains('\n'));
}
