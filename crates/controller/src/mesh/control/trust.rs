//! What proxies are told of the authority.

use model::mesh::Trust;

use crate::authority::State;
use crate::error::Result;

/// Whom to trust, and who issues, as the authority is now.
///
/// # Errors
///
/// When nobody issues, which no step of a rotation leaves behind.
pub fn trust(authority: &State) -> Result<Trust> {
    let (issuer, _) = authority.active()?;
    Ok(Trust {
        domain: authority.trust_domain.to_string(),
        roots: authority.trust_bundle_pem(),
        issuer: issuer.name.clone(),
        issuer_fingerprint: certs::inspect::fingerprint(&issuer.certificate.der),
        step: authority.taken.last().map_or(0, |taken| taken.number),
    })
}

#[cfg(test)]
mod tests {
    use model::identity::TrustDomain;
    use time::OffsetDateTime;

    use super::*;
    use crate::authority::Subject;

    #[test]
    fn every_step_of_a_rotation_is_told_in_its_order() {
        let now = OffsetDateTime::now_utc();
        let roots = |trust: &Trust| trust.roots.matches("BEGIN CERTIFICATE").count();
        let first = State::new(TrustDomain::default(), now).unwrap();
        let started = first.start(Subject::Root, now).unwrap();
        let confirmed = started.confirm(now).unwrap();
        let switched = confirmed.switch(now).unwrap();
        let retired = switched.retire(&[], true, now).unwrap();
        let told: Vec<Trust> =
            [&first, &started, &confirmed, &switched, &retired].map(|state| trust(state).unwrap()).into();
        assert_eq!(told.iter().map(roots).collect::<Vec<_>>(), [1, 2, 2, 2, 1]);
        assert!(told.is_sorted_by(|one, next| one.step < next.step), "{told:?}");
        let issuers: Vec<&str> = told.iter().map(|trust| trust.issuer.as_str()).collect();
        assert_eq!(issuers[..3], [issuers[0]; 3]);
        assert!(issuers[3] == issuers[4] && issuers[3] != issuers[0]);
        assert_eq!(told[3].issuer_fingerprint.len(), 64);
    }
}
