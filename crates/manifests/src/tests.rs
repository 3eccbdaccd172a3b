//! Manifests as they are found in the wild, wired twice.

use proptest::prelude::*;

use crate::{Error, Group, Manifest, Options, Wired, added, wire};

mod sidecar;
mod wild;

fn run(texts: &[&str], options: &Options) -> Result<Wired, Error> {
    let manifests: Vec<Manifest> = texts
        .iter()
        .enumerate()
        .map(|(index, text)| Manifest::parse(&format!("{index}.yaml"), *text))
        .collect::<Result<_, _>>()?;
    wire(&manifests, options)
}

fn wired(text: &str) -> String {
    run(&[text], &Options::default()).unwrap().texts.remove(0)
}

fn codes(text: &str) -> Vec<&'static str> {
    let findings = run(&[text], &Options::default()).unwrap().findings;
    findings.iter().map(|finding| finding.code.id).collect()
}

fn refused(text: &str) -> String {
    let error = run(&[text], &Options::default()).unwrap_err();
    format!("{} {error}", error.0[0].code.id)
}

/// Every line of `before` is in `after`, in its order; apart from empty values that were filled.
fn only_lines_were_added(before: &str, after: &str) {
    let mut lines = after.lines();
    for line in before.lines() {
        let emptied = ["{}", "[]", "null", "~"].iter().find_map(|empty| {
            let at = line.rfind(&format!(": {empty}"))?;
            Some(format!("{}:{}", &line[..at], &line[at + 2 + empty.len()..]))
        });
        if matches!(line.trim(), "{}" | "[]") || line.starts_with("{\"") {
            continue;
        }
        let found = lines.any(|new| {
            new == line
                || new == format!("{line},")
                || Some(new) == emptied.as_deref()
                || new.starts_with(line.trim_end_matches([']', '}'])) && line.contains(['{', '['])
        });
        assert!(found, "{line:?} is gone from\n{after}");
    }
}

const TWO_PODS: &str = "\
apiVersion: v1
kind: Service
metadata:
  name: web
spec:
  selector:
    app: web
  ports:
  - port: 80
---
apiVersion: v1
kind: Pod
metadata:
  name: web
  labels:
    app: web
spec:
  serviceAccountName: web
  containers:
  - name: web
    image: busybox
---
apiVersion: v1
kind: Pod
metadata:
  name: client
  annotations:
    handfast.dev/calls: web
spec:
  containers:
  - name: client
    image: busybox
    env:
    - name: URL
      value: http://web
";

#[test]
fn two_plain_pods_are_wired() {
    let got = run(&[TWO_PODS], &Options::default()).unwrap();
    let text = &got.texts[0];
    assert!(text.contains(
        "  - name: web\n    image: busybox\n    volumeMounts:\n    - name: handfast-server\n      \
         mountPath: /etc/handfast/server\n      readOnly: true\n    env:\n    - name: TLS_SERVER_CERT_FILE\n      \
         value: /etc/handfast/server/tls.crt\n"
    ), "{text}");
    assert!(
        text.contains(
            "  volumes:\n  - name: handfast-server\n    secret:\n      secretName: web-server-tls\n      \
         defaultMode: 256 # 0400\n---\n"
        ),
        "{text}"
    );
    assert!(text.contains("    handfast.dev/calls: web\n    handfast.dev/wired: client\n"), "{text}");
    assert!(!text.contains("fsGroup"));
    let added = added::documents(&got.added);
    assert!(added.contains("kind: Certificate\nmetadata:\n  name: web-server-tls\nspec:\n  secretName: web-server-tls\n  usage: server\n  serviceAccount: web\n  services:\n  - web\n"), "{added}");
    assert!(added.contains("name: client-client-tls\n"), "{added}");
    assert!(!added.contains("web-client-tls"), "{added}");
    assert!(added.contains("  resourceNames:\n  - web-server-tls\n  verbs:\n  - get\n  # By server-side apply, which is how the controller writes, `create` is limited by name too.\n  - create\n  - patch\n---"), "{added}");
    assert_eq!(added.matches("kind: Role\n").count(), 4, "two roles, two references\n{added}");
    assert!(Manifest::parse("added", added.clone()).unwrap().to_json().len() == 6, "{added}");
    assert_eq!(wired(text), *text);

    // What was printed can be wired again, and then nothing is added; what differs is not silently kept.
    let all = format!("{added}---\n{text}");
    let again = run(&[&all], &Options::default()).unwrap();
    assert_eq!(again.texts[0], all);
    assert!(again.added.is_empty(), "{:?}", again.added);
    assert!(refused(&all.replace("usage: server", "usage: both")).starts_with("HF7102"));
}

#[test]
fn nothing_of_a_private_key_is_drawn() {
    let text = "kind: Secret\nstringData:\n  tls.key: |\n    MIIabc\n   bad: [\n";
    let error = run(&[text], &Options::default()).unwrap_err();
    let drawn = model::codes::Coded::drawn(&error, false);
    assert!(drawn.is_none_or(|drawn| !drawn.contains("MIIabc")));
    assert!(error.to_string().contains("0.yaml:"), "{error}");
}

#[test]
fn simple_names_are_for_one_of_each() {
    let simple = Options { simple: true, ..Options::default() };
    let got = run(&[TWO_PODS], &simple).unwrap();
    assert!(
        got.texts[0].contains("secretName: server-tls-secret")
            && got.texts[0].contains("secretName: client-tls-secret")
    );
    let without_edges = TWO_PODS.replace("handfast.dev/calls: web", "a: b");
    assert!(run(&[&without_edges], &simple).is_err());
    // The names of the first run are not silently kept by a second one with others.
    assert!(refused(&got.texts[0]).starts_with("HF7102"));
}

#[test]
fn who_does_not_run_as_root_gets_a_group() {
    let pod = |security: &str, more: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\nspec:\n{security}  containers:\n  - name: a\n    image: b\n{more}"
        )
    };
    for (security, more, want) in [
        ("  securityContext:\n    runAsUser: 1000\n", "", "    runAsUser: 1000\n    fsGroup: 65532\n"),
        ("  securityContext: {runAsNonRoot: true}\n", "", "{runAsNonRoot: true, \"fsGroup\": 65532}\n"),
        (
            "  securityContext: {}\n",
            "    securityContext:\n      runAsNonRoot: true\n",
            "  securityContext:\n    fsGroup: 65532\n",
        ),
        ("  securityContext:\n    fsGroup: 7\n", "", "defaultMode: 288 # 0440\n"),
        ("  securityContext:\n    runAsUser: 0\n", "", "defaultMode: 256 # 0400\n"),
        ("", "", "defaultMode: 256 # 0400\n"),
    ] {
        let text = pod(security, more);
        let got = wired(&text);
        assert!(got.contains(want), "{got}");
        assert_eq!(got.contains("fsGroup: ") || got.contains("\"fsGroup\""), got.contains("0440"), "{got}");
        assert_eq!(wired(&got), got);
        only_lines_were_added(&text, &got);
    }
    let disk = pod(
        "  securityContext:\n    runAsUser: 5\n  volumes:\n  - name: d\n    persistentVolumeClaim: {claimName: d}\n",
        "",
    );
    assert!(refused(&disk).starts_with("HF7106"), "{}", refused(&disk));
    let never = Options { group: Group::Never, ..Options::default() };
    assert!(run(&[&disk], &never).unwrap().texts[0].contains("defaultMode: 292 # 0444"));
    let given = Options { group: Group::Given(5), ..Options::default() };
    assert!(run(&[&disk], &given).unwrap().texts[0].contains("fsGroup: 5\n"));
}

#[test]
fn manifests_of_the_wild_keep_all_of_their_lines_and_are_wired_once() {
    for (name, text) in wild::ALL {
        let got = run(&[text], &Options::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let after = &got.texts[0];
        only_lines_were_added(text, after);
        assert!(after.contains("secretName"), "{name}: {after}");
        assert_eq!(&wired(after), after, "{name}");
        assert_eq!(after.contains("\r\n"), text.contains("\r\n"), "{name}");
        if text.starts_with('{') {
            assert!(serde_json::from_str::<serde_json::Value>(after).is_ok(), "{name}: {after}");
        }
        if text.contains("\r\n") {
            assert_eq!(after.matches('\n').count(), after.matches("\r\n").count(), "{name}");
        }
    }
}

#[test]
fn shared_parts_are_refused_with_their_place() {
    for (text, want) in [(wild::SHARED_CONTAINER, "HF7101"), (wild::MERGED_MOUNTS, "HF7101")] {
        let error = refused(text);
        assert!(error.starts_with(want) && error.contains("0.yaml:"), "{error}");
    }
}

#[test]
fn bad_input_has_its_place() {
    let error = refused("kind: Pod\nmetadata:\n  name: [a\nspec: {}\n");
    assert!(error.starts_with("HF7100"), "{error}");
    let template = run(&["kind: Pod\nname: {{ .Values.x }}\n  a: b\n"], &Options::default()).unwrap_err();
    assert!(template.0[0].draw(false).contains("helm template"), "{}", template.0[0].draw(false));
    assert!(refused("kind: ConfigMap\napiVersion: v1\nmetadata:\n  name: x\n").starts_with("HF7105"));
    assert!(refused("kind: Pod\napiVersion: v1\nmetadata:\n  name: x\n").starts_with("HF7108"));
    let twice = format!("{TWO_PODS}---\n{}", TWO_PODS.split("---\n").nth(1).unwrap());
    assert!(refused(&twice).starts_with("HF7103"));
    let other_kind = format!(
        "{TWO_PODS}---\napiVersion: batch/v1\nkind: Job\nmetadata:\n  name: web\nspec:\n  template:\n    spec:\n      containers:\n      - name: a\n"
    );
    assert!(refused(&other_kind).contains("share one Secret"));
    let edge = Options { edges: vec![("nobody".into(), "web".into())], ..Options::default() };
    assert!(run(&[TWO_PODS], &edge).unwrap_err().to_string().contains("nobody"));
}

#[test]
fn what_is_wrong_is_found() {
    let found = codes(wild::ALL_WRONG);
    for code in [
        "HF7110", "HF7111", "HF7112", "HF7113", "HF7114", "HF7115", "HF7116", "HF7117", "HF7118", "HF7119",
        "HF7120", "HF7107",
    ] {
        assert!(found.contains(&code), "{code} is not among {found:?}");
    }
    let wired = wired(TWO_PODS);
    let again = codes(&wired);
    assert!(!again.contains(&"HF7114") && !again.contains(&"HF7113"), "{again:?}");
    // A private key in the text is never drawn.
    let all = run(&[wild::ALL_WRONG], &Options::default()).unwrap();
    for finding in &all.findings {
        assert!(!finding.draw(false).contains("c2VjcmV0"), "{}", finding.draw(false));
    }
}

prop_compose! {
    /// A Deployment in some layout of some writer.
    fn deployment()(
        step in 1usize..5, dash in prop::bool::ANY, comments in prop::bool::ANY, crlf in prop::bool::ANY,
        last_newline in prop::bool::ANY, containers in 1usize..4, extra in 0usize..6, volumes in 0usize..5,
        quoted in prop::bool::ANY, blank in prop::bool::ANY, leading in prop::bool::ANY,
    ) -> String {
        let i = |level: usize| " ".repeat(step * level);
        let d = if dash { step } else { 0 };
        let note = if comments { " # note: here" } else { "" };
        let q = if quoted { "\"" } else { "" };
        let mut t = String::new();
        if leading { t.push_str("# a file\n\n---\n"); }
        t.push_str(&format!("apiVersion: apps/v1{note}\n{q}kind{q}: Deployment\nmetadata:{note}\n{}name: d{note}\nspec:\n", i(1)));
        t.push_str(&format!("{}template:\n{}metadata:\n{}labels:\n{}app: d\n", i(1), i(2), i(3), i(4)));
        match extra { 0 => t.push_str(&format!("{}annotations: {{}}{note}\n", i(3))), 1 => t.push_str(&format!("{}annotations:\n", i(3))), 2 => t.push_str(&format!("{}annotations: {{a: b}}\n", i(3))), _ => {} }
        t.push_str(&format!("{}{q}spec{q}:{note}\n", i(2)));
        match volumes {
            0 => t.push_str(&format!("{}volumes: []{note}\n", i(3))),
            1 => t.push_str(&format!("{}volumes: # mine\n{}{}- name: v\n{}{}  emptyDir: {{}}\n", i(3), i(3), " ".repeat(d), i(3), " ".repeat(d))),
            2 => t.push_str(&format!("{}volumes: [{{name: v, emptyDir: {{}}}}]\n", i(3))),
            _ => {}
        }
        t.push_str(&format!("{}containers:{note}\n", i(3)));
        for c in 0..containers {
            let p = format!("{}{}", i(3), " ".repeat(d));
            t.push_str(&format!("{p}- name: c{c}{note}\n{p}  image: 'x:1'\n"));
            if comments { t.push_str(&format!("{p}  # about {c}\n")); }
            match (extra + c) % 6 {
                0 => t.push_str(&format!("{p}  command: [sh, -c, \"echo: 1\"]\n")),
                1 => t.push_str(&format!("{p}  args:\n{p}  - |\n{p}    kind: Pod\n{p}    # no comment\n\n{p}    env:\n")),
                2 => t.push_str(&format!("{p}  env:\n{p}  - name: A\n{p}    value: \"1\"{note}\n")),
                3 => t.push_str(&format!("{p}  env: [{{name: A, value: b}}]\n")),
                4 => t.push_str(&format!("{p}  args: [\"a\",\n{p}    \"b\"]\n{p}  volumeMounts: ~\n")),
                _ => t.push_str(&format!("{p}  args:\n{p}  - >+\n{p}    folded\n{p}    text\n\n")),
            }
            if blank { t.push('\n'); }
        }
        t.push_str(&format!("{}terminationGracePeriodSeconds: 5{note}\n", i(3)));
        if comments { t.push_str("# the end\n"); }
        if !last_newline { t.truncate(t.trim_end().len()); }
        if crlf { t = t.replace('\n', "\r\n"); }
        t
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn any_layout_is_wired_once_and_keeps_its_lines(text in deployment()) {
        let got = wired(&text);
        only_lines_were_added(&text, &got);
        prop_assert_eq!(wired(&got), got);
    }

    #[test]
    fn nothing_panics(text in "[ a-c:\\-\\[\\]{}#&*|>'\"\n]{0,60}") {
        let _ = run(&[&text], &Options::default());
        let kind = format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec:\n  containers:\n  - name: a\n{text}");
        let _ = run(&[&kind], &Options::default());
    }
}

const DEPLOYMENT: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  template:
    metadata:
      labels: {app: web}
    spec:
      containers:
      - name: web
        image: nginx
";

fn reloading(text: &str, way: &str) -> Result<Wired, Error> {
    let reload = Some(way.parse().unwrap());
    run(
        &[text],
        &Options { reload, image: Some("handfast.test/handfast:1".to_owned()), ..Options::default() },
    )
}

#[test]
fn who_is_restarted_is_named_in_its_certificates_and_in_the_controllers_rights() {
    let got = reloading(DEPLOYMENT, "restart").unwrap();
    assert!(
        got.texts[0].contains("  name: web\n  annotations:\n    handfast.dev/reload: restart\nspec:\n"),
        "{}",
        got.texts[0]
    );
    let added = added::documents(&got.added);
    assert!(added.contains("  restart:\n  - kind: Deployment\n    name: web\n"), "{added}");
    assert!(
        added.contains("  - deployments\n  resourceNames:\n  - web\n  verbs:\n  - get\n  - patch\n"),
        "{added}"
    );
    // The annotation says it as well: wired again without the option, nothing changes.
    let all = format!("{added}---\n{}", got.texts[0]);
    let again = run(&[&all], &Options::default()).unwrap();
    assert!(again.added.is_empty() && again.texts[0] == all);
    assert!(
        !added::documents(&run(&[DEPLOYMENT], &Options::default()).unwrap().added).contains("deployments")
    );

    // A Pod has no rollouts: it is wired, a person is told, and nobody gets a right.
    let pods = reloading(TWO_PODS, "restart").unwrap();
    assert_eq!(pods.findings.iter().filter(|finding| finding.code.id == "HF7062").count(), 2);
    assert!(
        !added::documents(&pods.added).contains("apps") && !pods.texts[0].contains("handfast.dev/reload")
    );
}

#[test]
fn a_sidecar_tells_by_signal_or_hook_and_is_added_once() {
    let text = reloading(DEPLOYMENT, "signal:nginx").unwrap().texts.remove(0);
    for line in [
        "handfast.dev/reload: \"signal:nginx\"\n",
        "      shareProcessNamespace: true\n",
        "      - name: handfast-reload\n        image: \"handfast.test/handfast:1\"\n        restartPolicy: Always\n",
        "        - \"--signal\"\n        - \"nginx:HUP\"\n",
        "          runAsUser: 0\n",
        "            add:\n            - KILL\n",
    ] {
        assert!(text.contains(line), "{line:?} is missing in\n{text}");
    }
    assert!(!text.contains("fsGroup"));
    let again = run(&[&text], &Options::default()).unwrap();
    assert_eq!(again.texts[0], text, "the second time");

    let hook = "hook:http://127.0.0.1:8081/reload";
    let text = reloading(DEPLOYMENT, hook).unwrap().texts.remove(0);
    assert!(text.contains("runAsNonRoot: true\n") && text.contains("fsGroup: 65532\n"), "{text}");
    assert!(!text.contains("shareProcessNamespace") && !text.contains("KILL"), "{text}");
    assert_eq!(run(&[&text], &Options::default()).unwrap().texts[0], text);

    let user = "    spec:\n      securityContext: {runAsNonRoot: true, runAsUser: 1000}\n";
    let known = DEPLOYMENT.replace("    spec:\n", user);
    let text = reloading(&known, "signal:nginx").unwrap().texts.remove(0);
    assert!(text.contains("runAsUser: 1000\n") && !text.contains("KILL"), "{text}");
    let unknown =
        DEPLOYMENT.replace("    spec:\n", "    spec:\n      securityContext: {runAsNonRoot: true}\n");
    assert_eq!(reloading(&unknown, "signal:nginx").unwrap_err().0[0].code.id, "HF7067");
    let pod = TWO_PODS.replace("  name: web\n  labels:", "  name: web\n  annotations: {}\n  labels:");
    let text = reloading(&pod, hook).unwrap().texts.remove(0);
    assert_eq!(text.matches("handfast.dev/reload").count(), 2, "{text}");
}

#[test]
fn ways_of_reloading_are_read_strictly() {
    for good in ["watch", "restart", "signal:nginx", "signal:nginx:USR1", "hook:http://localhost:80/a?b=c"] {
        assert_eq!(good.parse::<crate::Reload>().unwrap().to_string(), good);
    }
    for bad in [
        "",
        "sidecar",
        "signal:",
        "signal:nginx:KILL",
        "signal:a b",
        "hook:https://127.0.0.1/",
        "hook:http://169.254.169.254/latest",
        "hook:http://127.0.0.1.example.com:80/",
        "hook:http://127.0.0.1@example.com:80/",
        "hook:http://127.0.0.1:0/",
    ] {
        assert!(bad.parse::<crate::Reload>().is_err(), "{bad:?} was taken");
    }
    let odd = DEPLOYMENT
        .replace("  name: web\nspec", "  name: web\n  annotations: {handfast.dev/reload: maybe}\nspec");
    let refused = run(&[&odd], &Options::default()).unwrap_err();
    assert!(refused.to_string().contains("maybe"), "{refused}");
}
