use super::*;

/// Made with `openssl passwd`, `htpasswd` and Python's hashlib; the password is `secret`.
const LINES: &str = "\
apr:$apr1$abcdefgh$ICsWWY4FZvUYrRc4ktxR21
sha:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=
five:$5$saltsalt$rtlc.EJTMOi5bMTb4jfGIIDgVX/eMJXNrVFX2P2KZX2
plain:{PLAIN}secret
";

fn users(lines: &str) -> Users {
    Users::parse(lines).unwrap()
}

#[test]
fn fast_kinds_of_hashes_are_verified() {
    let users = users(LINES);
    for user in ["sha", "plain"] {
        assert!(users.verify(user, "secret"), "{user}");
        assert!(!users.verify(user, "Secret"), "{user}");
        assert!(!users.verify(user, ""), "{user}");
    }
    assert!(!users.verify("nobody", "secret"));
}

#[test]
fn hashes_of_openssl_are_verified() {
    for kind in ["-apr1", "-5", "-6"] {
        for password in ["secret", "a", "a longer password of more than sixteen bytes", "pässwörd"] {
            let out = std::process::Command::new("openssl")
                .args(["passwd", kind, "-salt", "Az09./xy", password])
                .output()
                .unwrap();
            let hash = String::from_utf8(out.stdout).unwrap();
            assert!(is_known_kind(hash.trim()), "{hash}");
            assert!(matches(password, hash.trim()), "{kind} {password}: {hash}");
            assert!(!matches("other", hash.trim()), "{kind}");
        }
    }
}

#[test]
fn bcrypt_is_verified() {
    let hash = bcrypt::hash("secret", 4).unwrap();
    assert!(matches("secret", &hash));
    assert!(matches("secret", &hash.replace("$2b$", "$2y$")));
    assert!(!matches("secrets", &hash));
}

#[test]
fn salted_sha_is_verified() {
    let salt = b"salt";
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(b"secret");
    context.update(salt);
    let mut bytes = context.finish().as_ref().to_vec();
    bytes.extend_from_slice(salt);
    let hash = format!("{{SSHA}}{}", base64::engine::general_purpose::STANDARD.encode(bytes));
    assert!(matches("secret", &hash));
    assert!(!matches("secret", "{SSHA}AAAA"), "too short is not a match and not a panic");
}

#[test]
fn a_line_with_an_unknown_hash_is_an_error_with_its_number() {
    assert_eq!(Users::parse("a:{PLAIN}x\n# note\n\nb:plaintext\n").err(), Some(4));
    assert_eq!(Users::parse("no colon").err(), Some(1));
}

#[test]
fn credentials_are_read_in_any_case_of_the_scheme() {
    let read = |value: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        credentials(&headers)
    };
    assert_eq!(read("basic YTpiOmM="), Some(("a".into(), "b:c".into())));
    for wrong in ["Basic", "Basic !!!", "Bearer YTpi", "Basic YWI="] {
        assert_eq!(read(wrong), None, "{wrong}");
    }
}

#[tokio::test]
async fn a_right_password_is_hashed_slowly_only_once() {
    let hash = bcrypt::hash("secret", 10).unwrap();
    let auth = BasicAuth { realm: Text::default(), users: Arc::new(users(&format!("u:{hash}"))) };
    let mut headers = HeaderMap::new();
    headers.insert(header::AUTHORIZATION, "Basic dTpzZWNyZXQ=".parse().unwrap());
    assert_eq!(auth.user(&headers).await.as_deref(), Some("u"));
    let start = std::time::Instant::now();
    for _ in 0..100 {
        assert_eq!(auth.user(&headers).await.as_deref(), Some("u"));
    }
    assert!(start.elapsed() < std::time::Duration::from_millis(100), "{:?}", start.elapsed());
}
