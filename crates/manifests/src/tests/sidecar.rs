//! The annotation `handfast.dev/sidecar`.

use super::{only_lines_were_added, refused, run, wired};
use crate::Options;

const SERVER: &str = "\
apiVersion: v1
kind: Service
metadata:
  name: web
spec:
  selector: {app: web}
  ports:
  - name: http
    port: 80
    targetPort: plain   # the container's
  - {name: metrics, port: 9090}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  template:
    metadata:
      labels: {app: web}
      annotations:
        handfast.dev/sidecar: \"8443:8080\"
    spec:
      containers:
      - name: web
        image: web
        ports:
        - {name: plain, containerPort: 8080}
";

const CLIENT: &str = "\
apiVersion: batch/v1
kind: CronJob
metadata:
  name: report
  annotations:
    handfast.dev/calls: web, db.data:5432
    handfast.dev/sidecar: calls
spec:
  schedule: \"@daily\"
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          containers:
          - name: report
            image: report
";

#[test]
fn the_application_gets_no_key_and_the_service_leads_to_the_sidecar() {
    let got = wired(SERVER);
    assert!(
        got.contains("    targetPort: 8443   # the container's\n  - {name: metrics, port: 9090}\n"),
        "{got}"
    );
    assert!(got.contains("        - \"8443=http:8080\"\n"), "{got}");
    // Its key and the lists, for the sidecar alone.
    assert_eq!(got.matches("mountPath").count(), 2, "{got}");
    assert!(got.contains("mountPath: /etc/handfast/lists") && !got.contains("subPath"), "{got}");
    assert!(got.contains("name: handfast-trust") && got.contains("optional: true"), "{got}");
    assert!(!got.contains("TLS_SERVER"), "{got}");
    assert!(got.contains("fsGroup: 65532") && got.contains("defaultMode: 288 # 0440"), "{got}");
    assert!(got.contains("runAsNonRoot: true") && got.contains("- ALL"), "{got}");
    assert_eq!(wired(&got), got, "a second run changes nothing");
    // What the application does itself it needs files for.
    let both = run(
        &[&SERVER.replace("      annotations:", "      annotations:\n        handfast.dev/calls: db.data")],
        &Options::default(),
    );
    let both = both.unwrap().texts.remove(0);
    assert_eq!(both.matches("mountPath").count(), 3, "{both}");
    assert!(both.contains("TLS_CLIENT_KEY_FILE") && !both.contains("TLS_SERVER"), "{both}");
    assert_eq!(wired(&both), both);
    only_lines_were_added(&SERVER.replace("targetPort: plain", "targetPort: 8443"), &got);
}

#[test]
fn who_believes_the_identity_header_is_told_of_the_way_past_the_sidecar() {
    let found = |text: &str| {
        let findings = run(&[text], &Options::default()).unwrap().findings;
        findings.iter().filter(|f| f.code.id == "HF7121").map(ToString::to_string).collect::<Vec<_>>()
    };
    let http = found(SERVER);
    assert!(http.len() == 1 && http[0].contains("port 8080"), "{http:?}");
    assert_eq!(found(&wired(SERVER)).len(), 1, "wiring does not mend it");
    // Without the header nothing is claimed that could be believed.
    assert!(found(&SERVER.replacen("name: http", "name: db", 1)).is_empty());
}

#[test]
fn a_sidecar_of_an_earlier_version_gets_the_lists() {
    let got = wired(SERVER);
    let mount = got.find("        - name: handfast-lists\n          mountPath").expect("the mount");
    let rest = &got[mount..];
    let end = rest.find("readOnly: true\n").expect("its end") + "readOnly: true\n".len();
    let before = format!("{}{}", &got[..mount], &rest[end..]);
    let volume = before.find("      - name: handfast-lists\n        configMap").expect("the volume");
    let rest = &before[volume..];
    let end = rest.find("path: crl.pem\n").expect("its end") + "path: crl.pem\n".len();
    let before = format!("{}{}", &before[..volume], &rest[end..]);
    assert!(!before.contains("lists"), "{before}");
    let again = wired(&before);
    assert!(again.contains("mountPath: /etc/handfast/lists") && again.contains("key: crl.pem"), "{again}");
    assert_eq!(wired(&again), again);
}

#[test]
fn who_calls_finds_the_sidecar_under_the_names_of_services() {
    let options =
        Options { cluster_domain: Some("c.test".into()), image: Some("i:1".into()), ..Options::default() };
    let got = run(&[SERVER, CLIENT], &options).unwrap().texts.remove(1);
    for line in [
        "127.0.0.2:80=web.$(HANDFAST_POD_NAMESPACE).svc.c.test:80\"\n",
        "127.0.0.2:9090=web.$(HANDFAST_POD_NAMESPACE).svc.c.test:9090\"\n",
        "127.0.0.3:5432=db.data.svc.c.test:5432\"\n",
        "- ip: \"127.0.0.2\"\n",
        "- web\n",
        "- db.data.svc\n",
        "image: \"i:1\"\n",
    ] {
        assert!(got.contains(line), "{line} is not in\n{got}");
    }
    let again = run(&[SERVER, &got], &options).unwrap().texts.remove(1);
    assert_eq!(again, got);
    // With the namespace written down, the longer names lead there as well.
    let named = |text: &str| text.replace("metadata:\n  name", "metadata:\n  namespace: shop\n  name");
    let got = run(&[&named(SERVER), &named(CLIENT)], &options).unwrap().texts.remove(1);
    assert!(got.contains("- web.shop\n") && got.contains("- web.shop.svc\n"), "{got}");
}

#[test]
fn the_kind_of_traffic_is_what_the_service_says() {
    let kinds = [
        ("name: http", "name: grpc-api", "8443=grpc:8080"),
        ("name: http", "name: db", "8443=tcp:8080"),
        ("name: http", "name: x\n    appProtocol: http", "8443=http:8080"),
        ("name: http", "name: http\n    appProtocol: kubernetes.io/h2c", "8443=grpc:8080"),
    ];
    for (from, to, want) in kinds {
        let got = wired(&SERVER.replacen(from, to, 1));
        assert!(got.contains(want), "{to}: {got}");
    }
}

#[test]
fn what_cannot_be_carried_out_is_refused_with_its_place() {
    let with = |value: &str| SERVER.replace("\"8443:8080\"", &format!("\"{value}\""));
    for (value, why) in [
        ("true", "LISTEN:PORT"),
        ("8080:8080", "two different ports"),
        ("8443:8080,8443:9090", "taken already"),
        ("15021:8080", "taken already"),
        ("", "asks for nothing"),
        ("calls", "whom it calls"),
        // YAML 1.1 reads this as a number when it is not quoted; quoted it is what it looks like.
        ("8443:70000", "LISTEN:PORT"),
    ] {
        let said = refused(&with(value));
        assert!(
            said.starts_with("HF7109 ") && said.contains(why) && said.contains("0.yaml:"),
            "{value}: {said}"
        );
    }
    let node = SERVER.replace("      containers:", "      hostNetwork: true\n      containers:");
    assert!(refused(&node).contains("node's network"));
    let alone = SERVER.replace("selector: {app: web}", "selector: {app: other}");
    assert!(refused(&alone).contains("no Service leads to it"));
    let unknown = CLIENT.replace("web, db.data:5432", "db.data");
    assert!(refused(&unknown).contains("say its port"), "{}", refused(&unknown));
    let other = SERVER
        .replace("        handfast.dev/sidecar: \"8443:8080\"\n", "        a: b\n")
        .replace("name: web\nspec:\n  template", "name: old\nspec:\n  template");
    let mixed = run(&[SERVER, other.split_once("---\n").unwrap().1], &Options::default()).unwrap_err();
    assert!(mixed.to_string().contains("others without"), "{mixed}");
    // A sidecar of an earlier run with other ports is not silently kept.
    let before = wired(SERVER)
        .replace("\"8443:8080\"", "\"9443:8080\"")
        .replace("targetPort: 8443", "targetPort: 9443");
    assert!(refused(&before).starts_with("HF7102 "), "{}", refused(&before));
}

#[test]
fn a_service_is_moved_in_every_style_it_may_be_written_in() {
    let ports = [
        ("  ports: [{name: http, port: 80, targetPort: plain}]\n", "\"targetPort\": 8443"),
        ("  ports: [{name: http, port: 8080}]\n", "\"targetPort\": 8443"),
        ("  ports:\n  - name: http\n    port: 80\n    targetPort: \"8080\"\n", "targetPort: 8443\n"),
        ("  ports:\n  - name: http\n    port: 8080\n    targetPort:\n", "targetPort: 8443\n"),
        ("  ports:\n  - port: 8080\n    name: http\n", "    targetPort: 8443\n"),
    ];
    let (head, rest) = SERVER.split_once("  ports:\n").unwrap();
    let (_, deployment) = rest.split_once("---\n").unwrap();
    for (written, want) in ports {
        let text = format!("{head}{written}---\n{deployment}");
        let got = wired(&text);
        assert!(got.contains(want) || got.contains(&want.replace('"', "")), "{written}: {got}");
        assert_eq!(wired(&got), got);
    }
}
