//! What the API server is told: conditions and certificates, each in one write.

use certs::AltName;
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestCondition, CertificateSigningRequestStatus,
};
use k8s_openapi::api::certificates::v1beta1::{PodCertificateRequest, PodCertificateRequestStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use time::OffsetDateTime;

use super::{Denial, Signed};

fn stamp(at: OffsetDateTime) -> Option<Time> {
    Timestamp::from_second(at.unix_timestamp()).ok().map(Time)
}

fn with(
    csr: &CertificateSigningRequest,
    kind: &str,
    reason: &str,
    message: String,
    now: OffsetDateTime,
) -> CertificateSigningRequest {
    let mut csr = csr.clone();
    let status = csr.status.get_or_insert_with(CertificateSigningRequestStatus::default);
    let conditions = status.conditions.get_or_insert_with(Vec::new);
    if conditions.iter().all(|known| known.type_ != kind) {
        conditions.push(CertificateSigningRequestCondition {
            type_: kind.to_owned(),
            status: "True".to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message),
            last_update_time: stamp(now),
            last_transition_time: stamp(now),
        });
    }
    csr
}

/// For `/approval`: approved, with the names that it gets.
pub fn approved(
    csr: &CertificateSigningRequest,
    names: &[AltName],
    now: OffsetDateTime,
) -> CertificateSigningRequest {
    let names: Vec<String> = names.iter().map(AltName::value).collect();
    with(csr, "Approved", "PodVouchedFor", format!("its pod justifies {}", names.join(", ")), now)
}

/// Whether it was approved, by whomever.
pub(super) fn is_approved(csr: &CertificateSigningRequest) -> bool {
    let mut conditions = csr.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.any(|known| known.type_ == "Approved")
}

/// Whether nothing can be said of it any more.
pub(super) fn is_pod_decided(request: &PodCertificateRequest) -> bool {
    request.status.as_ref().is_some_and(|status| {
        let mut conditions = status.conditions.iter().flatten();
        status.certificate_chain.is_some()
            || conditions.any(|known| matches!(known.type_.as_str(), "Issued" | "Denied" | "Failed"))
    })
}

/// For `/approval`: denied. One that somebody approved already cannot be denied any more: then see [`failed`].
pub fn denied(
    csr: &CertificateSigningRequest,
    denial: &Denial,
    now: OffsetDateTime,
) -> Option<CertificateSigningRequest> {
    (!is_approved(csr)).then(|| with(csr, "Denied", denial.reason, denial.text(), now))
}

/// For `/status`: it cannot be signed, for good.
pub fn failed(
    csr: &CertificateSigningRequest,
    denial: &Denial,
    now: OffsetDateTime,
) -> CertificateSigningRequest {
    with(csr, "Failed", denial.reason, denial.text(), now)
}

/// For `/status`: the certificate.
pub fn issued_csr(csr: &CertificateSigningRequest, signed: &Signed) -> CertificateSigningRequest {
    let mut csr = csr.clone();
    csr.status.get_or_insert_with(CertificateSigningRequestStatus::default).certificate =
        Some(ByteString(signed.chain.clone().into_bytes()));
    csr
}

/// For `/status`: chain, dates and condition together, as the API demands. Refreshed after two thirds of its life.
pub fn issued_pod(signed: &Signed, now: OffsetDateTime) -> PodCertificateRequestStatus {
    let life = signed.not_after - signed.not_before;
    PodCertificateRequestStatus {
        certificate_chain: Some(signed.chain.clone()),
        not_before: stamp(signed.not_before),
        not_after: stamp(signed.not_after),
        begin_refresh_at: stamp(signed.not_before + life * 2 / 3),
        conditions: Some(vec![condition(
            "Issued",
            "PodVouchedFor",
            "signed for the pod's service account",
            now,
        )]),
    }
}

/// For `/status`: `Denied` for what the facts do not justify, `Failed` where signing itself did not work.
pub fn refused_pod(kind: &'static str, denial: &Denial, now: OffsetDateTime) -> PodCertificateRequestStatus {
    PodCertificateRequestStatus {
        conditions: Some(vec![condition(kind, denial.reason, &denial.text(), now)]),
        ..PodCertificateRequestStatus::default()
    }
}

fn condition(kind: &str, reason: &str, message: &str, now: OffsetDateTime) -> Condition {
    Condition {
        type_: kind.to_owned(),
        status: "True".to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        last_transition_time: stamp(now).unwrap_or(Time(Timestamp::UNIX_EPOCH)),
        observed_generation: None,
    }
}
