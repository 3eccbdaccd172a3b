//! From a request to a certificate. Pure: the time and the serial number are passed in; nothing is
//! read or written. The ledger records the result before anybody gets to see it.

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, CrlDistributionPoint, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyUsagePurpose, NameConstraints, PublicKeyData, SanType,
    SerialNumber,
};
use time::{Duration, OffsetDateTime};

use crate::constraints::Constraints;
use crate::error::{Error, Result};
use crate::issuer::{CaCertificate, Issuer};
use crate::key::PrivateKey;
use crate::request::{AltName, Request, Usage};
use crate::serial::Serial;

/// How far the start of validity lies back, for verifiers whose clock is behind ours.
pub const SKEW: Duration = Duration::minutes(5);

/// A certificate that was signed and is not recorded yet.
#[derive(Debug)]
pub struct Signed {
    /// The certificate.
    pub der: Vec<u8>,
    /// Start of validity.
    pub not_before: OffsetDateTime,
    /// End of validity.
    pub not_after: OffsetDateTime,
    /// Whether it is shorter than asked for, because its issuer ends earlier.
    pub shortened: bool,
}

/// What a new authority's certificate says.
#[derive(Clone, Debug)]
pub struct AuthoritySpec {
    /// Common name.
    pub common_name: String,
    /// Organisation.
    pub organization: Option<String>,
    /// How long it is valid.
    pub lifetime: Duration,
    /// How many authorities may follow below it.
    pub path_length: Option<u8>,
    /// What it may issue; empty is anything.
    pub constraints: Constraints,
    /// Where the revocation list of *its issuer* can be fetched.
    pub crl_url: Option<String>,
}

/// Signs a leaf. Refuses names that the issuer's constraints, or those of an authority above it, forbid; never
/// outlives any of them. `above` is the chain over the issuer, up to the root.
#[allow(clippy::too_many_arguments, reason = "each is one fact of the new certificate")]
pub fn leaf(
    request: &Request,
    public_key: &impl PublicKeyData,
    serial: &Serial,
    issuer: &Issuer,
    above: &[CaCertificate],
    crl_url: Option<&str>,
    now: OffsetDateTime,
) -> Result<Signed> {
    request.check()?;
    let ca = issuer.certificate();
    let mut end = ca.not_after;
    for ca in std::iter::once(ca).chain(above) {
        ca.check_time(now)?;
        Constraints::of(ca)?.check(&request.names, request.common_name.as_deref(), &ca.subject)?;
        end = end.min(ca.not_after);
    }

    let mut params = base(serial);
    let wanted = whole_second(now) + request.lifetime;
    params.not_before = (whole_second(now) - request.backdated).max(ca.not_before);
    params.not_after = wanted.min(end);
    params.distinguished_name = name(request.common_name.as_deref(), request.organization.as_deref());
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    // RSA key exchange of TLS 1.2 needs it; for other keys it has no meaning (RFC 8446 dropped it).
    if is_rsa(public_key) {
        params.key_usages.push(KeyUsagePurpose::KeyEncipherment);
    }
    params.extended_key_usages = match request.effective_usage() {
        Usage::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
        Usage::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
        Usage::Both => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
    };
    params.subject_alt_names = request.names.iter().map(san).collect::<Result<_>>()?;
    set_crl_url(&mut params, crl_url);
    let (not_before, not_after) = (params.not_before, params.not_after);
    let der = crate::exact::with_issuer_name(params.signed_by(public_key, issuer.signer())?.der(), issuer)?;
    Ok(Signed { der, not_before, not_after, shortened: not_after < wanted })
}

/// Signs a root with its own key.
pub fn root(spec: &AuthoritySpec, key: &PrivateKey, serial: &Serial, now: OffsetDateTime) -> Result<Signed> {
    let mut params = authority_params(spec, serial, now)?;
    // Verifiers differ on a root that names itself as its authority; all accept one without.
    params.use_authority_key_identifier_extension = false;
    let (not_before, not_after) = (params.not_before, params.not_after);
    Ok(Signed { der: params.self_signed(key)?.der().to_vec(), not_before, not_after, shortened: false })
}

/// Signs an intermediate. It never outlives the root.
pub fn intermediate(
    spec: &AuthoritySpec,
    key: &PrivateKey,
    serial: &Serial,
    issuer: &Issuer,
    now: OffsetDateTime,
) -> Result<Signed> {
    let ca = issuer.certificate();
    ca.check_time(now)?;
    if ca.path_length == Some(0) {
        return Err(Error::Unusable {
            subject: ca.subject.clone(),
            reason: "its path length of 0 forbids an intermediate below it".into(),
        });
    }
    let mut params = authority_params(spec, serial, now)?;
    let wanted = params.not_after;
    params.not_before = params.not_before.max(ca.not_before);
    params.not_after = wanted.min(ca.not_after);
    let (not_before, not_after) = (params.not_before, params.not_after);
    let der = crate::exact::with_issuer_name(params.signed_by(key, issuer.signer())?.der(), issuer)?;
    Ok(Signed { der, not_before, not_after, shortened: not_after < wanted })
}

fn authority_params(spec: &AuthoritySpec, serial: &Serial, now: OffsetDateTime) -> Result<CertificateParams> {
    let mut params = base(serial);
    params.not_before = whole_second(now) - SKEW;
    params.not_after = whole_second(now) + spec.lifetime;
    params.distinguished_name = name(Some(&spec.common_name), spec.organization.as_deref());
    params.is_ca = IsCa::Ca(match spec.path_length {
        Some(length) => BasicConstraints::Constrained(length),
        None => BasicConstraints::Unconstrained,
    });
    params.key_usages =
        vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.name_constraints = name_constraints(&spec.constraints);
    set_crl_url(&mut params, spec.crl_url.as_deref());
    Ok(params)
}

fn base(serial: &Serial) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.serial_number = Some(SerialNumber::from(serial.as_bytes().to_vec()));
    params.use_authority_key_identifier_extension = true;
    params
}

fn set_crl_url(params: &mut CertificateParams, url: Option<&str>) {
    params.crl_distribution_points =
        url.map(|url| CrlDistributionPoint { uris: vec![url.to_owned()] }).into_iter().collect();
}

fn name(common_name: Option<&str>, organization: Option<&str>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    for (kind, text) in [(DnType::OrganizationName, organization), (DnType::CommonName, common_name)] {
        if let Some(text) = text {
            name.push(kind, text);
        }
    }
    name
}

pub(crate) fn san(name: &AltName) -> Result<SanType> {
    let ia5 = |text: &str| {
        text.try_into().map_err(|_| Error::Request(format!("{text:?} holds characters beyond ASCII")))
    };
    Ok(match name {
        AltName::Dns(text) => SanType::DnsName(ia5(text)?),
        AltName::Uri(text) => SanType::URI(ia5(text)?),
        AltName::Email(text) => SanType::Rfc822Name(ia5(text)?),
        AltName::Ip(ip) => SanType::IpAddress(*ip),
    })
}

fn name_constraints(constraints: &Constraints) -> Option<NameConstraints> {
    let subtrees = |dns: &[String], ip: &[crate::constraints::Network], email: &[String]| {
        let dns = dns.iter().cloned().map(GeneralSubtree::DnsName);
        let ip =
            ip.iter().map(|n| GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(n.address, n.prefix)));
        dns.chain(ip).chain(email.iter().cloned().map(GeneralSubtree::Rfc822Name)).collect()
    };
    (!constraints.is_empty()).then(|| NameConstraints {
        permitted_subtrees: subtrees(
            &constraints.permitted_dns,
            &constraints.permitted_ip,
            &constraints.permitted_email,
        ),
        excluded_subtrees: subtrees(
            &constraints.excluded_dns,
            &constraints.excluded_ip,
            &constraints.excluded_email,
        ),
    })
}

fn is_rsa(key: &impl PublicKeyData) -> bool {
    let algorithm = key.algorithm();
    [&rcgen::PKCS_RSA_SHA256, &rcgen::PKCS_RSA_SHA384, &rcgen::PKCS_RSA_SHA512].contains(&algorithm)
}

/// Certificates carry whole seconds; the ledger must say the same.
pub(crate) fn whole_second(at: OffsetDateTime) -> OffsetDateTime {
    at.replace_nanosecond(0).unwrap_or(at)
}
