"""Container images without Docker and without a registry: an archive of one layer that is an OCI image layout and what
`docker save` writes in one, so that docker, podman, skopeo, ctr and kind take it. The same files give the same bytes:
no time, no owner and no compressor of this machine is in it."""

import hashlib
import io
import json
import os
import platform
import re
import subprocess
import tarfile
import tempfile
from pathlib import Path

MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
PROGRAMS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
EPOCH = "1970-01-01T00:00:00Z"

# Enough for a libc to know users and to ask the cluster's DNS.
ETC = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"
                  "nonroot:x:65532:65532:nonroot:/home/nonroot:/bin/sh\n",
    "etc/group": "root:x:0:\nnogroup:x:65534:\nnonroot:x:65532:\n",
    "etc/nsswitch.conf": "hosts: files dns\n",
}


class Unusable(Exception):
    """A file that cannot become part of an image, with the reason."""


class Image:
    """An image in the making."""

    def __init__(self, name, entrypoint=None, user=None, environment=(), labels=None):
        self.name = name
        self.settings = {"Env": [f"PATH={PROGRAMS}", *environment], "WorkingDir": "/"}
        if entrypoint:
            self.settings["Entrypoint"] = entrypoint
        if user:
            self.settings["User"] = user
        if labels:
            self.settings["Labels"] = dict(sorted(labels.items()))
        self._known = set()
        self._file = tempfile.TemporaryFile()
        self._layer = tarfile.open(fileobj=self._file, mode="w", format=tarfile.PAX_FORMAT)
        self.folder("root", 0o700)
        self.folder("tmp", 0o1777)
        self.folder("home/nonroot", 0o755, owner=65532)
        for path, text in ETC.items():
            self.text(path, text)

    def folder(self, path, mode=0o755, owner=0):
        path = path.strip("/")
        if path and path not in self._known:
            self._parents(path)
            self._add(path, tarfile.DIRTYPE, mode, owner=owner)

    def text(self, path, text, mode=0o644):
        self._parents(path)
        self._add(path, tarfile.REGTYPE, mode, content=io.BytesIO(text.encode()), size=len(text.encode()))

    def link(self, path, target):
        self._parents(path)
        self._add(path, tarfile.SYMTYPE, 0o777, target=target)

    def add(self, source, path, mode=None):
        """A file, or a folder with all that is in it, from this machine; symbolic links in a folder stay links."""
        source, path = Path(source), path.strip("/")
        if source.is_dir():
            self.folder(path)
            for entry in sorted(source.iterdir()):
                below = f"{path}/{entry.name}"
                if entry.is_symlink():
                    self.link(below, os.readlink(entry))
                else:
                    self.add(entry, below)
        elif source.is_file():
            self._parents(path)
            status = source.stat()
            mode = status.st_mode & 0o7777 if mode is None else mode
            with source.open("rb") as content:
                self._add(path, tarfile.REGTYPE, mode, content=content, size=status.st_size)
        else:
            raise Unusable(f"{source}: there is no such file")

    def binary(self, source, path, mode=None):
        """A program, with the shared libraries and the loader that it names, each where the loader will look."""
        self.add(source, path, mode)
        # Of a static program ldd says that it is none, and exits 1.
        listed = subprocess.run(["ldd", str(source)], capture_output=True, text=True)
        if "not found" in listed.stdout:
            raise Unusable(f"{source}: ldd misses a library:\n{listed.stdout}")
        for library in re.findall(r"(?:=> |^\s+)(/\S+) \(0x", listed.stdout, re.MULTILINE):
            self.add(library, library, mode)

    def write(self, archive):
        """Writes the archive to a file object, and gives the digest of the manifest: the image's own."""
        self._layer.close()
        self._file.seek(0)
        layer = hashlib.file_digest(self._file, "sha256").hexdigest()
        size = self._file.seek(0, os.SEEK_END)
        config = encoded({
            "architecture": MACHINES[platform.machine()],
            "os": "linux",
            "created": EPOCH,
            "config": self.settings,
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer}"]},
            "history": [{"created": EPOCH, "created_by": "handfast"}],
        })
        oci = "application/vnd.oci.image"
        manifest = encoded({
            "schemaVersion": 2,
            "mediaType": f"{oci}.manifest.v1+json",
            "config": described(f"{oci}.config.v1+json", config),
            "layers": [{"mediaType": f"{oci}.layer.v1.tar", "digest": f"sha256:{layer}", "size": size}],
        })
        found = described(f"{oci}.manifest.v1+json", manifest)
        # The short name for those that read the layout, the whole one for containerd.
        found["annotations"] = {
            "org.opencontainers.image.ref.name": self.name.rpartition(":")[2],
            "io.containerd.image.name": self.name,
        }
        index = encoded({"schemaVersion": 2, "mediaType": f"{oci}.index.v1+json", "manifests": [found]})
        docker = encoded([{
            "Config": blob(config), "RepoTags": [self.name], "Layers": [f"blobs/sha256/{layer}"],
        }])
        with tarfile.open(fileobj=archive, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for name, content in (
                ("oci-layout", encoded({"imageLayoutVersion": "1.0.0"})), ("index.json", index),
                ("manifest.json", docker), (blob(manifest), manifest), (blob(config), config),
            ):
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
            entry = tarfile.TarInfo(f"blobs/sha256/{layer}")
            entry.size = size
            self._file.seek(0)
            tar.addfile(entry, self._file)
        archive.flush()
        return found["digest"]

    def _parents(self, path):
        parent = os.path.dirname(path.strip("/"))
        if parent:
            self.folder(parent)

    def _add(self, path, kind, mode, *, owner=0, target="", content=None, size=0):
        path = path.strip("/")
        if path in self._known:
            return  # two programs of one image share their libraries
        self._known.add(path)
        entry = tarfile.TarInfo(path)
        entry.type, entry.mode, entry.linkname, entry.size = kind, mode, target, size
        entry.uid = entry.gid = owner
        self._layer.addfile(entry, content)


def encoded(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def blob(content):
    return f"blobs/sha256/{hashlib.sha256(content).hexdigest()}"


def described(kind, content):
    return {"mediaType": kind, "digest": f"sha256:{hashlib.sha256(content).hexdigest()}", "size": len(content)}
