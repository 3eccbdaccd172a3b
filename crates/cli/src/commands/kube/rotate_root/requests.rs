//! Certificates that requests brought: no Secret holds them, but their requests, as long as the cluster keeps these (an
//! hour), say that there are some. Looked at where somebody says that none are in use.

use certs::{certificates_of_pem, inspect, rfc3339};
use controller::authority::{Standing, State};
use controller::names::SIGNER;
use controller::served::Optional;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::api::{DynamicObject, ListParams};
use kube::{Api, Client};
use time::OffsetDateTime;

use super::super::listing;
use super::judge::{Choices, Finding, Kind};
use crate::failure::Failure;

/// A kind that a cluster may not serve.
const POD_CERTIFICATES: Optional =
    Optional { kind: "PodCertificateRequest", plural: "podcertificaterequests" };

/// A request that was answered with a certificate.
#[derive(Clone, Debug)]
pub struct Answered {
    /// As in `PodCertificateRequest shop/web-5d8f`.
    pub title: String,
    /// Its leaf, DER.
    pub leaf: Vec<u8>,
}

/// All requests to our signer that were answered.
pub async fn answered(client: &Client) -> Result<Vec<Answered>, Failure> {
    let failed = |what: &str| controller::Error::api(what.to_owned());
    let ours = ListParams::default().fields(&format!("spec.signerName={SIGNER}"));
    let found = listing::all(&Api::<CertificateSigningRequest>::all(client.clone()), &ours).await;
    let found = found.map_err(failed("list the CertificateSigningRequests"))?;
    let mut all: Vec<Answered> = found
        .into_iter()
        .filter_map(|request| {
            let text = String::from_utf8(request.status?.certificate?.0).ok()?;
            let name = request.metadata.name.unwrap_or_default();
            answer(format!("CertificateSigningRequest {name}"), &text)
        })
        .collect();
    if let Some(kind) = POD_CERTIFICATES.find(client).await? {
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &kind);
        let found = listing::all(&api, &ListParams::default()).await;
        let found = found.map_err(failed("list the PodCertificateRequests"))?;
        all.extend(
            found.into_iter().filter(|request| request.data["spec"]["signerName"] == SIGNER).filter_map(
                |request| {
                    let text = request.data["status"]["certificateChain"].as_str()?;
                    let namespace = request.metadata.namespace.as_deref().unwrap_or_default();
                    let name = request.metadata.name.as_deref().unwrap_or_default();
                    answer(format!("PodCertificateRequest {namespace}/{name}"), text)
                },
            ),
        );
    }
    Ok(all)
}

fn answer(title: String, text: &str) -> Option<Answered> {
    let leaf = certificates_of_pem(text).ok()?.into_iter().next()?;
    Some(Answered { title, leaf })
}

/// Those whose certificate the former authority signed, and which has not ended. Pure.
pub fn of_former(
    state: &State,
    answered: &[Answered],
    choices: &Choices,
    now: OffsetDateTime,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for request in answered {
        let Some(signer) = state.issuer_of(&request.leaf).filter(|m| m.standing == Standing::Former) else {
            continue;
        };
        let Ok(seen) = inspect::certificate(&request.leaf) else { continue };
        let Ok(end) = OffsetDateTime::from_unix_timestamp(seen.not_after_unix) else { continue };
        let name = request.title.split_once(' ').map_or("", |(_, name)| name);
        if end <= now || choices.accept_unseen.iter().any(|accepted| accepted == name) {
            continue;
        }
        findings.push(Finding {
            kind: Kind::Unseen,
            object: request.title.clone(),
            why: format!(
                "it brought somebody certificate {} of {}, which may be in use until {}",
                seen.serial.to_lowercase(),
                signer.name,
                rfc3339(end)
            ),
        });
    }
    findings
}

#[cfg(test)]
mod tests {
    use certs::{KeyKind, PrivateKey, Request, Serial, issue};
    use controller::authority::Subject;
    use model::identity::TrustDomain;
    use time::Duration;

    use super::*;

    const NOW: OffsetDateTime = time::macros::datetime!(2026-11-01 12:00 UTC);

    fn request(state: &State, title: &str) -> Answered {
        let (member, issuer) = state.active().unwrap();
        let key = PrivateKey::generate(KeyKind::P256).unwrap();
        let above = state.above(member).unwrap();
        let wanted = Request::new("leaf").with(certs::AltName::dns("web").unwrap());
        let leaf = issue::leaf(&wanted, &key, &Serial::random().unwrap(), issuer, &above, None, NOW).unwrap();
        Answered { title: title.into(), leaf: leaf.der }
    }

    #[test]
    fn a_certificate_of_the_former_authority_is_named_until_it_ends() {
        let before = State::new(TrustDomain::default(), NOW).unwrap();
        let state = before.start(Subject::Root, NOW).unwrap().confirm(NOW).unwrap().switch(NOW).unwrap();
        let all = [
            request(&before, "CertificateSigningRequest csr-1"),
            request(&before, "PodCertificateRequest shop/web-1"),
            request(&state, "CertificateSigningRequest csr-2"),
        ];
        let named = |accepted: &[&str], now| {
            let accept_unseen = accepted.iter().map(|name| (*name).to_owned()).collect();
            let choices = Choices { accept_unseen, ..Choices::default() };
            let found = of_former(&state, &all, &choices, now);
            found.into_iter().map(|finding| finding.object).collect::<Vec<_>>()
        };
        assert_eq!(named(&[], NOW), [all[0].title.as_str(), all[1].title.as_str()]);
        assert_eq!(named(&["csr-1"], NOW), [all[1].title.as_str()]);
        assert!(named(&["csr-1", "shop/web-1"], NOW).is_empty());
        assert!(named(&[], NOW + Duration::days(400)).is_empty());
    }
}
