"""Keys, certificates and kubeconfigs of the cluster itself, by openssl: P-256, ten years, thrown away with it."""

import base64
import secrets
import subprocess

from node.place import ADDRESS, API, API_SERVICE, DOMAIN, NODE

# file name, common name, organisation
CLIENTS = [
    ("controller-manager", "system:kube-controller-manager", None),
    ("scheduler", "system:kube-scheduler", None),
    ("proxy", "system:kube-proxy", None),
    ("kubelet", f"system:node:{NODE}", "system:nodes"),
    ("apiserver-to-kubelet", "kube-apiserver-kubelet-client", "system:masters"),
]

SERVERS = [
    ("apiserver", "kube-apiserver", f"IP:{ADDRESS},IP:{API_SERVICE},IP:127.0.0.1,DNS:localhost,DNS:kubernetes,"
     f"DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.{DOMAIN}"),
    ("kubelet-server", f"system:node:{NODE}", f"IP:{ADDRESS},DNS:{NODE}"),
]


def make(place):
    """Everything that the components and the administrator need."""
    place.pki.mkdir(mode=0o700)
    _openssl(place, "req", "-x509", *_key("ca"), "-subj", "/CN=handfast test cluster", "-days", "3650",
             "-addext", "keyUsage=critical,keyCertSign,cRLSign", "-out", "ca.crt")
    for name, common, organisation in CLIENTS:
        subject = f"/O={organisation}/CN={common}" if organisation else f"/CN={common}"
        _sign(place, name, subject, "extendedKeyUsage=clientAuth")
    for name, common, names in SERVERS:
        _sign(place, name, f"/CN={common}", f"extendedKeyUsage=serverAuth\nsubjectAltName={names}")
    _openssl(place, "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "accounts.key")
    _openssl(place, "pkey", "-in", "accounts.key", "-pubout", "-out", "accounts.pub")

    token = secrets.token_hex(16)
    (place.pki / "tokens.csv").write_text(f'{token},admin,admin,"system:masters"\n')
    _kubeconfig(place, place.kubeconfig, "admin", {"token": token})
    for name in ("controller-manager", "scheduler", "proxy", "kubelet"):
        _kubeconfig(place, place.pki / f"{name}.kubeconfig", name, {
            "client-certificate": place.pki / f"{name}.crt",
            "client-key": place.pki / f"{name}.key",
        })
    return token


def _key(name):
    return "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key"


def _sign(place, name, subject, extensions):
    _openssl(place, "req", "-new", *_key(name), "-subj", subject, "-out", f"{name}.csr")
    (place.pki / f"{name}.ext").write_text(f"{extensions}\nkeyUsage=critical,digitalSignature\n")
    _openssl(place, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-days", "3650",
             "-extfile", f"{name}.ext", "-out", f"{name}.crt")


def _openssl(place, *arguments):
    subprocess.run(["openssl", *arguments], cwd=place.pki, check=True, capture_output=True)


def _kubeconfig(place, file, user, credentials):
    authority = base64.b64encode((place.pki / "ca.crt").read_bytes()).decode()
    lines = "".join(f"\n    {key}: {value}" for key, value in credentials.items())
    file.touch(mode=0o600)
    file.write_text(f"""\
apiVersion: v1
kind: Config
current-context: handfast
contexts:
- name: handfast
  context:
    cluster: handfast
    user: {user}
clusters:
- name: handfast
  cluster:
    server: {API}
    certificate-authority-data: {authority}
users:
- name: {user}
  user:{lines}
""")
