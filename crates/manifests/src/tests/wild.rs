//! Manifests in the manner of the tools and people that write them.

pub(super) const ALL: &[(&str, &str)] = &[
    ("helm", HELM),
    ("kustomize", KUSTOMIZE),
    ("four spaces", FOUR),
    (
        "windows",
        "apiVersion: v1\r\nkind: Pod\r\nmetadata:\r\n  name: w\r\nspec:\r\n  containers:\r\n  - name: w\r\n    image: w\r\n",
    ),
    (
        "no line feed at the end",
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: w\nspec:\n  containers:\n  - name: w\n    image: w",
    ),
    (
        "byte order mark",
        "\u{feff}apiVersion: v1\nkind: Pod\nmetadata:\n  name: w\nspec:\n  containers:\n  - name: w\n    image: w\n",
    ),
    ("json", JSON),
    (
        "json on one line",
        "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"w\"},\"spec\":{\"containers\":[{\"name\":\"w\"}]}}",
    ),
    ("block scalars with YAML in them", SCALARS),
    ("anchors that are not in the way", ANCHORS),
    ("list", LIST),
    ("cron job", CRON),
    ("kubectl create --dry-run", KUBECTL),
    ("stateful set and sidecar", SIDECAR),
    (
        "generated job",
        "apiVersion: batch/v1\nkind: Job\nmetadata:\n  generateName: run-\nspec:\n  template:\n    spec:\n      restartPolicy: Never\n      containers: [{name: a, image: b}]\n",
    ),
];

const HELM: &str = r#"---
# Source: shop/templates/service.yaml
apiVersion: v1
kind: Service
metadata:
  name: release-shop
  labels:
    helm.sh/chart: shop-0.1.0
    app.kubernetes.io/managed-by: Helm
spec:
  type: ClusterIP
  ports:
    - port: 80
      targetPort: http
      protocol: TCP
      name: http
  selector:
    app.kubernetes.io/name: shop
    app.kubernetes.io/instance: release
---
# Source: shop/templates/deployment.yaml
apiVersion: apps/v1
kind: Deployment
metadata:
  name: release-shop
spec:
  replicas: 1
  selector:
    matchLabels:
      app.kubernetes.io/name: shop
      app.kubernetes.io/instance: release
  template:
    metadata:
      annotations:
        checksum/config: "0123"
      labels:
        app.kubernetes.io/name: shop
        app.kubernetes.io/instance: release
    spec:
      serviceAccountName: release-shop
      securityContext:
        {}
      containers:
        - name: shop
          securityContext:
            runAsNonRoot: true
          image: "nginx:1.16.0"
          imagePullPolicy: IfNotPresent
          ports:
            - name: http
              containerPort: 80
              protocol: TCP
          resources:
            {}
---
# Source: shop/templates/tests/nothing.yaml
"#;

const KUSTOMIZE: &str = r#"apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: shop
spec:
  selector:
    matchLabels:
      app: web
  template:
    metadata:
      labels:
        app: web
    spec:
      containers:
      - env:
        - name: A
          valueFrom:
            configMapKeyRef:
              key: a
              name: c-5f8t9k
        image: web:2
        name: web
        volumeMounts:
        - mountPath: /data
          name: data
      volumes:
      - emptyDir: {}
        name: data
"#;

const FOUR: &str = r#"# everything is indented by four
apiVersion: apps/v1
kind: DaemonSet
metadata:
    name: agent # the agent
spec:
    template:
        metadata:
            labels: {app: agent}
        spec:
            # two containers
            containers:
                # the first
                -   name: one
                    image: one:1   # pinned

                    # env:
                    #     - name: OLD
                # the second
                -   name: two
                    image: two:1
                    env:
                        -   name: X
                            value: "y"
                        # - name: Z
            # after the containers
            hostNetwork: true
"#;

const JSON: &str = r#"{
    "apiVersion": "apps/v1",
    "kind": "ReplicaSet",
    "metadata": {
        "name": "r"
    },
    "spec": {
        "template": {
            "metadata": {
                "labels": {
                    "app": "r"
                }
            },
            "spec": {
                "containers": [
                    {
                        "name": "r",
                        "image": "r:1"
                    }
                ],
                "volumes": []
            }
        }
    }
}
"#;

const SCALARS: &str = r#"apiVersion: v1
kind: ConfigMap
metadata: {name: c}
data:
  pod.yaml: |
    apiVersion: v1
    kind: Pod
    metadata:
      name: inner
    spec:
      containers:
      - name: inner
---   # the real one
apiVersion: v1
kind: Pod
metadata:
  name: outer
  annotations:
    note: >-
      folded
      text
spec:
  containers:
  - name: outer
    image: "outer"
    command:
    - sh
    - -c
    - |+
      # no comment
      echo "a: b"

"#;

const ANCHORS: &str = r#"apiVersion: apps/v1
kind: Deployment
metadata:
  name: a
  labels: &labels
    app: a
spec:
  selector:
    matchLabels: *labels
  template:
    metadata:
      labels: *labels
    spec:
      containers:
      - &main
        name: a
        image: a:1
        resources: &resources
          limits: {memory: 1Gi}
      - <<: {image: "b:1"}
        name: b
        resources: *resources
"#;

const LIST: &str = r#"apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Service
  metadata:
    name: x
  spec:
    selector: {app: x}
- apiVersion: v1
  kind: Pod
  metadata:
    name: x
    labels: {app: x}
  spec:
    containers:
    - name: x
"#;

const CRON: &str = r#"apiVersion: batch/v1
kind: CronJob
metadata:
  name: nightly
spec:
  schedule: "0 3 * * *"
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: OnFailure
          containers:
          - name: nightly
            image: busybox:1
            args: ["sh", "-c",
                   "date"]   # across lines
"#;

const KUBECTL: &str = r#"apiVersion: apps/v1
kind: Deployment
metadata:
  creationTimestamp: null
  labels:
    app: k
  name: k
spec:
  replicas: 1
  selector:
    matchLabels:
      app: k
  strategy: {}
  template:
    metadata:
      creationTimestamp: null
      labels:
        app: k
    spec:
      containers:
      - image: nginx
        name: nginx
        resources: {}
status: {}
"#;

const SIDECAR: &str = r#"apiVersion: v1
kind: Service
metadata: {name: db}
spec:
  clusterIP: None
  selector: {app: db}
---
apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: db
spec:
  serviceName: db
  template:
    metadata:
      labels: {"app": 'db'}
    spec:
      securityContext:
        runAsUser: 999
        fsGroup: 999
      initContainers:
      - name: once
        image: a
      - name: beside
        image: b
        restartPolicy: Always
      containers:
      - name: db
        image: db
  volumeClaimTemplates:
  - metadata: {name: data}
"#;

pub(super) const SHARED_CONTAINER: &str = r#"apiVersion: v1
kind: Pod
metadata: {name: a}
spec:
  containers:
  - &c
    name: a
  initContainers:
  - *c
"#;

pub(super) const MERGED_MOUNTS: &str = r#"apiVersion: v1
kind: Pod
metadata: {name: a}
x: &common
  env:
  - name: A
spec:
  containers:
  - <<: *common
    name: a
"#;

pub(super) const ALL_WRONG: &str = r#"apiVersion: v1
kind: Service
metadata: {name: nothing}
spec:
  selector: {app: nobody}
---
apiVersion: v1
kind: Service
metadata: {name: without}
spec: {}
---
apiVersion: v1
kind: Pod
metadata:
  name: a
  annotations: {handfast.dev/calls: "nowhere"}
spec:
  containers:
  - name: a
    env:
    - name: KEY
      valueFrom: {secretKeyRef: {name: s, key: tls.key}}
    - name: PEM
      value: |
        -----BEGIN PRIVATE KEY-----
        c2VjcmV0
        -----END PRIVATE KEY-----
    - name: CERT
      valueFrom: {secretKeyRef: {name: s, key: tls.crt}}
    volumeMounts:
    - {name: one, mountPath: /k/tls.key, subPath: tls.key}
    - {name: two, mountPath: /c/tls.crt, subPath: tls.crt}
  volumes:
  - {name: one, secret: {secretName: one-tls}}
  - {name: two, secret: {secretName: two-tls, defaultMode: 0400}}
  - {name: host, hostPath: {path: /etc/ssl/private}}
"#;
