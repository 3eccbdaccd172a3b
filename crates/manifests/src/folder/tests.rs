//! Folders as people have them, and as they should not be.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;

use model::codes::Coded;
use model::mesh::policy::{Arrival, decide};
use model::mesh::{Mode, Tunnel};

use super::*;

const BANK: &str = r#"
apiVersion: v1
kind: ServiceAccount
metadata: {name: web}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {COLOUR: "blue $(NOT)", "bad=key": x, LEVEL: info}
---
apiVersion: v1
kind: Secret
metadata: {name: login}
data: {password: aHVudGVyMg==}
stringData: {user: admin}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata:
      labels: {app: web}
    spec:
      serviceAccountName: web
      volumes:
      - name: scratch
        emptyDir: {}
      initContainers:
      - name: migrate
        command: [./migrate]
      - name: helper
        restartPolicy: Always
        command: [./helper]
      containers:
      - name: app
        image: registry.example/web:1
        command: [./web, --listen, "$(POD_IP):8080"]
        args: ["--name=$(NAME)", "$$(NAME)", "$(UNKNOWN)", "$(GIVEN)"]
        workingDir: app
        ports: [{name: http, containerPort: 8080}, {containerPort: 53, protocol: UDP}]
        envFrom:
        - prefix: APP_
          configMapRef: {name: settings}
        - secretRef: {name: absent, optional: true}
        env:
        - name: POD_IP
          valueFrom: {fieldRef: {fieldPath: status.podIP}}
        - name: NAME
          valueFrom: {fieldRef: {fieldPath: metadata.name}}
        - name: WHERE
          value: "$(NAME) at $(POD_IP), $(APP_LEVEL), $(LATER)"
        - name: LATER
          value: later
        - name: PASSWORD
          valueFrom: {secretKeyRef: {name: login, key: password}}
        - name: MAYBE
          valueFrom: {configMapKeyRef: {name: settings, key: gone, optional: true}}
        - name: GIVEN
          value: mine
        readinessProbe:
          periodSeconds: 2
          httpGet: {port: http, path: /ready}
        livenessProbe: {tcpSocket: {port: 8080}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: http}]
---
apiVersion: v1
kind: Service
metadata: {name: web-each}
spec:
  clusterIP: None
  selector: {app: web}
  ports: [{port: 8080}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  rules:
  - from: [{source: {serviceAccounts: [web]}}]
    to: [{operation: {ports: ["8080"]}}]
---
apiVersion: security.istio.io/v1beta1
kind: PeerAuthentication
metadata: {name: default}
spec: {mtls: {mode: STRICT}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
"#;

fn folder(text: &str) -> Result<Folder, Error> {
    read(&[Manifest::parse("bank.yaml", text)?], &Options::default())
}

/// The codes, messages and lines of a refusal.
fn refused(text: &str) -> Vec<(&'static str, String, usize)> {
    let error = folder(text).unwrap_err();
    let line = |finding: &Finding| finding.place.as_ref().map_or(0, config::source::Place::line);
    error.0.iter().map(|finding| (finding.code.id, finding.message.clone(), line(finding))).collect()
}

fn addressed(mut folder: Folder) -> Folder {
    let mut next = 10;
    folder.assign(
        |_| {
            next += 1;
            IpAddr::from([127, 0, 0, next])
        },
        |_| IpAddr::from([127, 1, 0, 1]),
    );
    folder
}

fn pod(container: &str) -> String {
    format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec:\n  containers:\n  - {container}\n")
}

#[test]
fn a_workload_becomes_pods_with_stable_names_and_their_containers_in_order() {
    let bank = folder(BANK).unwrap();
    let names: Vec<String> = bank.pods.iter().map(LocalPod::key).collect();
    assert_eq!(names, ["default/web-0", "default/web-1"]);
    let web = &bank.pods[0];
    assert_eq!((web.owner_kind, web.owner.as_str(), web.restart), ("Deployment", "web", Restart::Always));
    let roles: Vec<(&str, Role)> = web.containers.iter().map(|own| (own.name.as_str(), own.role)).collect();
    assert_eq!(roles, [("migrate", Role::Init), ("helper", Role::Sidecar), ("app", Role::App)]);
    let app = &web.containers[2];
    assert_eq!(app.ports, [LocalPort { name: Some("http".into()), number: 8080 }]);
    assert_eq!(app.working_dir.as_deref(), Some("app"));
    let readiness = app.readiness.as_ref().unwrap();
    assert_eq!((readiness.period.as_secs(), readiness.failures), (2, 3));
    assert!(matches!(&readiness.check, Check::Http { port: 8080, path, tls: false, .. } if path == "/ready"));
    let notes: Vec<&str> = bank.notes.iter().map(|note| note.message.as_str()).collect();
    assert_eq!(
        notes,
        [
            "Ingress web has no effect on one machine",
            "Deployment web: volume scratch is no folder of its own: the processes have this machine's files",
            "Deployment web, container \"app\": `livenessProbe` is not carried out",
        ]
    );
}

#[test]
fn commands_and_variables_are_filled_in_as_kubernetes_does_it() {
    let bank = addressed(folder(BANK).unwrap());
    let (web, app) = (&bank.pods[1], &bank.pods[1].containers[2]);
    let given =
        BTreeMap::from([("GIVEN".to_owned(), "theirs".to_owned()), ("PROXY".to_owned(), "x".to_owned())]);
    let variables = app.variables(web, bank.node(), &given);
    let expected = [
        ("APP_COLOUR", "blue $(NOT)"),
        ("APP_LEVEL", "info"),
        ("GIVEN", "mine"),
        ("LATER", "later"),
        ("NAME", "web-1"),
        ("PASSWORD", "hunter2"),
        ("POD_IP", "127.0.0.12"),
        ("PROXY", "x"),
        ("WHERE", "web-1 at 127.0.0.12, info, $(LATER)"),
    ];
    let found: Vec<(&str, &str)> =
        variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(found, expected);
    assert_eq!(
        app.command(&variables),
        ["./web", "--listen", "127.0.0.12:8080", "--name=web-1", "$(NAME)", "$(UNKNOWN)", "mine"]
    );
    assert!(!format!("{bank:?}").contains("hunter2"));
}

#[test]
fn references_are_expanded_like_kubernetes_own_examples() {
    let known = |name: &str| match name {
        "VAR_A" => Some("A"),
        "VAR_B" => Some("B"),
        "VAR_REF" => Some("$(VAR_A)"),
        "" => None,
        _ => None,
    };
    for (text, expected) in [
        ("$(VAR_A)", "A"),
        ("___$(VAR_B)___", "___B___"),
        ("$(VAR_A)$(VAR_B)", "AB"),
        ("$(VAR_REF)", "$(VAR_A)"),
        ("$$(VAR_A)", "$(VAR_A)"),
        ("$$$(VAR_A)", "$A"),
        ("$$$$(VAR_A)", "$$(VAR_A)"),
        ("$(VAR_A", "$(VAR_A"),
        ("$VAR_A", "$VAR_A"),
        ("foo$", "foo$"),
        ("$()", "$()"),
        ("$(VAR_A$(VAR_B)", "$(VAR_A$(VAR_B)"),
        ("$(Ä)ß$", "$(Ä)ß$"),
    ] {
        assert_eq!(expand(text, known), expected, "{text}");
    }
}

#[test]
fn the_world_of_a_folder_decides_as_a_cluster_would() {
    let bank = addressed(folder(BANK).unwrap());
    let index = bank.world(|pod| pod.name == "web-1");
    assert_eq!(index.problems, []);
    let (first, second) = (&index.workloads[0], &index.workloads[1]);
    assert_eq!(second.uid, "local//Pod/default/web-1");
    assert_eq!((first.healthy, second.healthy, second.tunnel), (false, true, Tunnel::Hbone));
    assert_eq!((second.workload_name.as_str(), second.node.as_str()), ("web", "local"));
    assert_eq!(second.modes.inbound.all, Mode::Strict);
    assert_eq!(second.services.values().flatten().map(|port| port.target).collect::<Vec<_>>(), [8080, 8080]);
    assert_eq!(index.services[1].addresses, [IpAddr::from([127, 1, 0, 1])]);
    assert!(index.services[0].addresses.is_empty());
    let world = index.world();
    let caller = second.identity().unwrap();
    for (identity, port, allowed) in
        [(Some(&caller), 8080, true), (Some(&caller), 81, false), (None, 8080, false)]
    {
        let source = IpAddr::from([127, 0, 0, 1]);
        let arrival = Arrival { identity, source, address: second.addresses[0], port };
        assert_eq!(decide(&world, second, &arrival).is_allowed(), allowed);
    }
}

#[test]
fn namespaces_are_in_the_mesh_unless_they_say_otherwise() {
    let pods = "---\napiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: NS}\nspec: {containers: [{name: c, command: [x]}]}\n";
    let text = format!(
        "apiVersion: v1\nkind: Namespace\nmetadata: {{name: out, labels: {{handfast.dev/mesh: disabled}}}}\n\
         ---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: written}}\n{}{}{}",
        pods.replace("NS", "out"),
        pods.replace("NS", "written"),
        pods.replace("NS", "unwritten"),
    );
    let tunnels = |folder: &Folder| -> Vec<(String, Tunnel)> {
        folder.world(|_| true).workloads.into_iter().map(|w| (w.namespace, w.tunnel)).collect()
    };
    let found = tunnels(&folder(&text).unwrap());
    assert_eq!(
        found,
        [
            ("out".into(), Tunnel::None),
            ("unwritten".into(), Tunnel::Hbone),
            ("written".into(), Tunnel::Hbone)
        ]
    );
    let manifest = Manifest::parse("x.yaml", text).unwrap();
    let asked = read(&[manifest], &Options { enrol: false, ..Options::default() }).unwrap();
    assert!(tunnels(&asked).iter().all(|(_, tunnel)| *tunnel == Tunnel::None));
}

#[test]
fn an_image_without_a_command_is_refused_with_line_and_caret() {
    let text = pod("name: app\n    image: nginx:1");
    assert_eq!(
        refused(&text),
        [(
            "HF8040",
            "Pod p, container \"app\": it has no `command`; its image, nginx:1, is not run on one machine"
                .into(),
            6
        )]
    );
    let drawn = folder(&text).unwrap_err().drawn(false).unwrap();
    assert!(drawn.contains("bank.yaml:6") && drawn.contains("^"), "{drawn}");
    for args in ["{name: app, args: [x]}", "{name: app, command: []}", "{name: app, command: ['']}"] {
        assert_eq!(refused(&pod(args))[0].0, "HF8040", "{args}");
    }
}

#[test]
fn what_is_referred_to_has_to_be_there() {
    let env = |from: &str| {
        pod(&format!("name: c\n    command: [x]\n    env:\n    - name: A\n      valueFrom: {{{from}}}"))
    };
    for (text, code, what, line) in [
        (env("configMapKeyRef: {name: m, key: k}"), "HF8041", "there is no ConfigMap default/m", 9),
        (env("secretKeyRef: {name: m, key: k}"), "HF8041", "there is no Secret default/m", 9),
        (env("fieldRef: {fieldPath: status.hostIP}"), "HF8043", "status.hostIP is not known", 9),
        (env("resourceFieldRef: {resource: limits.cpu}"), "HF8043", "is not known on one machine", 9),
        (pod("name: c\n    command: [x]\n    envFrom: [{configMapRef: {name: m}}]"), "HF8041", "ConfigMap default/m", 8),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  serviceAccountName: gone\n  containers: [{name: c, command: [x]}]\n".into(),
            "HF8041",
            "there is no ServiceAccount default/gone",
            5,
        ),
        (
            format!("{}---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: m}}\n", env("configMapKeyRef: {name: m, key: k}")),
            "HF8041",
            "ConfigMap m has no text with the key \"k\"",
            9,
        ),
        // One of another namespace is not this one's.
        (
            format!("{}---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: m, namespace: o}}\ndata: {{k: v}}\n", env("configMapKeyRef: {name: m, key: k}")),
            "HF8041",
            "there is no ConfigMap default/m",
            9,
        ),
    ] {
        let found = refused(&text);
        assert_eq!((found.len(), found[0].0, found[0].2), (1, code, line), "{found:?}\n{text}");
        assert!(found[0].1.contains(what), "{found:?}");
    }
}

#[test]
fn a_policy_that_is_not_understood_is_refused_at_its_line() {
    let policy = |spec: &str| {
        format!(
            "{}---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: a}}\n{spec}",
            pod("{name: c, command: [x]}")
        )
    };
    let text = policy(
        "spec:\n  rules:\n  - to:\n    - operation:\n        ports: [\"80\"]\n        methods: [GET]\n",
    );
    let found = refused(&text);
    assert_eq!((found[0].0, found[0].2), ("HF8031", 16), "{found:?}");
    assert!(found[0].1.starts_with("AuthorizationPolicy default/a: spec.rules[0].to[0].operation.methods: "));
    // A number where Istio has text.
    assert_eq!(refused(&policy("spec: {rules: [{to: [{operation: {ports: [80]}}]}]}\n"))[0].0, "HF8030");
    // What would otherwise be a policy that says nothing.
    assert_eq!(refused(&policy("action: DENY\n"))[0].0, "HF7108");
    let alpha = policy("spec: {}\n").replace("istio.io/v1", "istio.io/v1alpha1");
    assert_eq!(refused(&alpha)[0].0, "HF7108");
    let pod = pod("{name: c, command: [x]}");
    let annotated =
        pod.replace("{name: p}", "\n  name: p\n  annotations:\n    handfast.dev/outbound-mode: Strict");
    assert_eq!((refused(&annotated)[0].0, refused(&annotated)[0].2), ("HF8033", 6));
}

#[test]
fn the_annotation_of_a_template_is_refused_once_and_at_its_line() {
    let text = BANK.replace(
        "      labels: {app: web}\n    spec",
        "      labels: {app: web}\n      annotations:\n        handfast.dev/outbound-modes: \"443\"\n    spec",
    );
    let found = refused(&text);
    assert_eq!((found.len(), found[0].0), (1, "HF8033"), "{found:?}");
    assert_eq!(text.lines().nth(found[0].2 - 1).unwrap().trim(), "handfast.dev/outbound-modes: \"443\"");
}

#[test]
fn a_wrong_type_is_found_and_a_secret_is_not_shown() {
    let found = refused(&pod(
        "name: c\n    command: [x]\n    env:\n    - {name: A, value: b}\n    - {name: PORT, value: 8080}",
    ));
    assert_eq!((found[0].0, found[0].2), ("HF7108", 10), "{found:?}");
    assert!(found[0].1.contains("spec.containers[0].env[1].value: "), "{found:?}");
    let secret = format!(
        "{}---\napiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\ndata: {{k: \"hunter2!\"}}\n",
        pod("{name: c, command: [x]}")
    );
    let error = folder(&secret).unwrap_err();
    assert!(!error.to_string().contains("hunter2") && error.drawn(false).is_none(), "{error}");
}

#[test]
fn names_and_numbers_that_would_do_harm_are_refused() {
    let deployment = |name: &str, replicas: &str| {
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\nspec:\n  replicas: {replicas}\n  selector: {{}}\n  template: {{spec: {{containers: [{{name: c, command: [x]}}]}}}}\n"
        )
    };
    assert_eq!(refused(&deployment("../../etc", "1"))[0].0, "HF7108");
    assert_eq!(refused(&deployment("a..b", "1"))[0].0, "HF7108");
    assert_eq!(refused(&deployment("web", "101"))[0].0, "HF8043");
    assert_eq!(refused(&deployment("web", "-1"))[0].0, "HF8043");
    assert!(folder(&deployment("web", "0")).unwrap().pods.is_empty());
    let set = deployment("web", "2").replace("Deployment", "StatefulSet");
    assert_eq!(refused(&format!("{}---\n{set}", deployment("web", "1")))[0].0, "HF7103");
    let set = folder(&set).unwrap();
    assert_eq!(set.pods[1].labels["statefulset.kubernetes.io/pod-name"], "web-1");
    let other = deployment("web", "1").replace("selector: {}", "selector: {matchLabels: {app: web}}");
    assert_eq!(refused(&other)[0].0, "HF7108");
    assert_eq!(refused(&pod("{name: ../c, command: [x]}"))[0].0, "HF7108");
    assert_eq!(refused("apiVersion: v1\nkind: Service\nmetadata: {name: s}\n")[0].0, "HF7105");
    // Once with its namespace, once without.
    let twice = format!(
        "{}---\n{}",
        pod("{name: c, command: [x]}"),
        pod("{name: c, command: [x]}").replace("{name: p}", "{name: p, namespace: default}")
    );
    assert_eq!(refused(&twice)[0].0, "HF7103");
}

#[test]
fn a_job_ends_and_says_how_often_it_is_tried() {
    let job = |policy: &str| {
        format!(
            "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: once}}\nspec:\n  template: {{spec: {{{policy}containers: [{{name: c, command: [x]}}]}}}}\n"
        )
    };
    let found = folder(&job("restartPolicy: Never, ")).unwrap();
    assert_eq!((found.pods[0].name.as_str(), found.pods[0].restart), ("once-0", Restart::Never));
    assert_eq!(folder(&job("restartPolicy: OnFailure, ")).unwrap().pods[0].restart, Restart::OnFailure);
    assert_eq!(refused(&job(""))[0].0, "HF7108");
}

#[test]
fn all_manifests_of_a_folder_are_read_in_order_and_nothing_that_is_hidden() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("b.yml", "kind: B\n");
    write("a/z.json", "{\"kind\": \"A\"}\n");
    write("c.yaml", "kind: C\n");
    for ignored in [".hidden.yaml", ".git/x.yaml", "readme.md", "d.yaml.bak"] {
        write(ignored, ": no yaml [\n");
    }
    std::os::unix::fs::symlink(folder.path(), folder.path().join("loop")).unwrap();
    let found = files::load(folder.path()).unwrap();
    let kinds: Vec<_> =
        found.iter().map(|manifest| manifest.documents[0].root.text_at(&["kind"]).unwrap()).collect();
    assert_eq!(kinds, ["A", "B", "C"]);
    assert_eq!(files::load(&folder.path().join("c.yaml")).unwrap().len(), 1);
    write("e.yaml", "kind: [\n");
    write("f.yaml", "\u{0}\n");
    fs::write(folder.path().join("g.yaml"), [0xff, 0xfe, 0x41]).unwrap();
    let error = files::load(folder.path()).unwrap_err();
    assert!(error.0.len() >= 2 && error.to_string().contains("e.yaml:"), "{error}");
    assert!(error.to_string().contains("g.yaml: "), "{error}");
    assert_eq!(files::load(&folder.path().join("gone")).unwrap_err().0[0].code.id, "HF9002");
}
