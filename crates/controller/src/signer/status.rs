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

/// For `/approval`: denied. One that somebody approved already cannot be denied any more: then see [`failed`].
pub fn denied(
    csr: &CertificateSigningRequest,
    denial: &Denial,
    now: OffsetDateTime,
) -> Option<CertificateSigningRequest> {
    let conditions = csr.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let approved = conditions.into_iter().any(|known| known.type_ == "Approved");
    (!approved).then(|| with(csr, "Denied", denial.reason, denial.message.clone(), now))
}

/// For `/status`: it cannot be signed, for good.
pub fn failed(
    csr: &CertificateSigningRequest,
    denial: &Denial,
    now: OffsetDateTime,
) -> CertificateSigningRequest {
    with(csr, "Failed", denial.reason, denial.message.clone(), now)
}

/// For `/status`: the certificate.
pub fn issued_csr(csr: &CertificateSigningRequest, signed: &Signed) -> CertificateSigningRequest {
    let mut csr = csr.clone();
    csr.status.get_or_insert_with(CertificateSigningRequestStatus::default).certificate =
        Some(ByteString(signed.chain.clone().into_bytes()));
    csr
}

/// For `/status`: chain, dates and condition together, as the API demands. Refreshed after two thirds of its life.
pub fn issued_pod(
    request: &PodCertificateRequest,
    signed: &Signed,
    now: OffsetDateTime,
) -> PodCertificateRequest {
    let life = signed.not_after - signed.not_before;
    let mut request = request.clone();
    request.status = Some(PodCertificateRequestStatus {
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
    });
    request
}

/// For `/status`: `Denied` for what the facts do not justify, `Failed` where signing itself did not work.
pub fn refused_pod(
    request: &PodCertificateRequest,
    kind: &'static str,
    denial: &Denial,
    now: OffsetDateTime,
) -> PodCertificateRequest {
    let mut request = request.clone();
    request.status = Some(PodCertificateRequestStatus {
        conditions: Some(vec![condition(kind, denial.reason, &denial.message, now)]),
        ..PodCertificateRequestStatus::default()
    });
    request
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
