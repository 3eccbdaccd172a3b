//! Tests of [`super`]: plans that cannot be carried out, and impostors against a real bundle.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::forge::Issuer;
use crate::forge::certificate::Purpose;

fn plan(folder: &Path, impostors: Vec<Sent>) -> EdgePlan {
    EdgePlan {
        version: VERSION,
        folder: folder.to_owned(),
        servers: Vec::new(),
        clients: Vec::new(),
        impostors,
        rows: Vec::new(),
        has_list: false,
        http_path: None,
        timeout: 5000,
    }
}

#[tokio::test]
async fn a_folder_without_files_is_said_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let findings = run(&plan(folder.path(), Vec::new())).await;
    assert!(findings.error.unwrap().contains("tls.crt cannot be read"));
    let newer = EdgePlan { version: VERSION + 1, ..plan(folder.path(), Vec::new()) };
    assert!(run(&newer).await.error.unwrap().contains("version"));
}

#[tokio::test]
async fn the_bundle_refuses_impostors_each_for_its_own_reason_and_accepts_a_good_server() {
    let pki = testkit::pki::Pki::new();
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(&pki.good.chain, folder.path().join("tls.crt")).unwrap();
    std::fs::copy(&pki.good.key, folder.path().join("tls.key")).unwrap();
    std::fs::write(folder.path().join("ca.crt"), pki.site.pem()).unwrap();
    let site = Issuer::from_pem(pki.site.pem().as_bytes(), pki.site.key_pem().as_bytes()).unwrap();
    let server = |dns: &str, expired: bool| {
        site.pair(|draft| {
            draft.purpose = Purpose::Server;
            (draft.uri, draft.dns) = (None, vec![dns.to_owned()]);
            if expired {
                draft.not_before -= time::Duration::days(9);
                draft.not_after -= time::Duration::days(8);
            }
        })
        .unwrap()
    };
    let bad = vec![
        Sent::new("impostor-wrong-name", &server("elsewhere.invalid", false)),
        Sent::new("impostor-expired", &server("server.invalid", true)),
    ];
    let findings = run(&plan(folder.path(), bad)).await;
    assert_eq!(findings.error, None);
    let why: Vec<_> =
        findings.impostors.iter().map(|row| (row.verdict.as_str(), row.observed.clone())).collect();
    assert_eq!(why.len(), 3);
    for ((verdict, observed), words) in why.iter().zip(["UnknownIssuer", "elsewhere.invalid", "expired"]) {
        assert!(*verdict == "ok" && observed.to_lowercase().contains(&words.to_lowercase()), "{observed}");
    }
    // The control: a good one is let in, so that the refusals above are no accident. Where an impostor is let in,
    // the row fails.
    let good = vec![Sent::new("impostor-wrong-name", &server("server.invalid", false))];
    let findings = run(&plan(folder.path(), good)).await;
    assert_eq!(findings.impostors[1].verdict, "fail");
}
