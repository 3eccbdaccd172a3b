use proptest::prelude::*;

use super::*;

#[test]
fn a_service_account_is_read_and_written() {
    let id: SpiffeId = "spiffe://cluster.local/ns/shop/sa/web".parse().unwrap();
    assert_eq!(id.trust_domain().as_str(), "cluster.local");
    assert_eq!((id.namespace(), id.service_account_name()), (Some("shop"), Some("web")));
    let made = SpiffeId::service_account(&TrustDomain::default(), "shop", "web").unwrap();
    assert_eq!(made, id);
    assert_eq!(made.to_string(), "spiffe://cluster.local/ns/shop/sa/web");
}

#[test]
fn only_the_exact_form_names_a_service_account() {
    for path in ["/ns/a", "/ns/a/sa", "/ns/a/sa/b/c", "/sa/b/ns/a", "/NS/a/SA/b", "/other"] {
        let id: SpiffeId = format!("spiffe://x{path}").parse().unwrap();
        assert_eq!((id.namespace(), id.service_account_name()), (None, None), "{path}");
    }
}

#[test]
fn what_the_standard_refuses_is_refused() {
    use IdentityError::*;
    for (text, reason) in [
        ("", Scheme),
        ("https://x/y", Scheme),
        ("SPIFFE://x/y", Scheme),
        ("spiffe:///y", NoTrustDomain),
        ("spiffe://x", NoPath),
        ("spiffe://x/", EmptySegment),
        ("spiffe://x//y", EmptySegment),
        ("spiffe://x/y/", EmptySegment),
        ("spiffe://x/./y", DotSegment),
        ("spiffe://x/../y", DotSegment),
        ("spiffe://x/%2e%2e/y", PathCharacter('%')),
        ("spiffe://x/y?z", PathCharacter('?')),
        ("spiffe://x/y#z", PathCharacter('#')),
        ("spiffe://x/y z", PathCharacter(' ')),
        ("spiffe://x/y\u{0}", PathCharacter('\u{0}')),
        ("spiffe://x/ü", PathCharacter('ü')),
        ("spiffe://X/y", TrustDomainCharacter('X')),
        ("spiffe://x:80/y", TrustDomainCharacter(':')),
        ("spiffe://user@x/y", TrustDomainCharacter('@')),
    ] {
        assert_eq!(text.parse::<SpiffeId>(), Err(reason), "{text:?}");
    }
    assert_eq!(format!("spiffe://{}/y", "a".repeat(256)).parse::<SpiffeId>(), Err(TrustDomainTooLong));
    assert_eq!(format!("spiffe://x/{}", "a".repeat(2048)).parse::<SpiffeId>(), Err(TooLong));
}

#[test]
fn a_part_cannot_smuggle_segments() {
    let domain = TrustDomain::default();
    assert!(SpiffeId::service_account(&domain, "a/sa/root", "b").is_err());
    assert!(SpiffeId::service_account(&domain, "a", "b/c").is_err());
    assert!(SpiffeId::service_account(&domain, "", "b").is_err());
    assert!(SpiffeId::service_account(&domain, "..", "b").is_err());
}

proptest! {
    #[test]
    fn parsing_never_panics_and_what_parses_prints_the_same(text in "(spiffe://)?\\PC{0,60}") {
        if let Ok(id) = text.parse::<SpiffeId>() {
            prop_assert_eq!(id.to_string(), text);
        }
    }

    #[test]
    fn every_service_account_comes_back(
        domain in "[a-z0-9._-]{1,40}", namespace in "[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?",
        account in "[a-z0-9]([a-z0-9.-]{0,20}[a-z0-9])?",
    ) {
        let domain: TrustDomain = domain.parse().unwrap();
        let id = SpiffeId::service_account(&domain, &namespace, &account).unwrap();
        let back: SpiffeId = id.to_string().parse().unwrap();
        prop_assert_eq!(back.namespace(), Some(namespace.as_str()));
        prop_assert_eq!(back.service_account_name(), Some(account.as_str()));
        prop_assert_eq!(back.trust_domain(), &domain);
    }
}
