"""Container images without a registry and without Docker: an archive of one layer, as `docker save` writes them."""

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

from node.components import BUSYBOX, CONTAINERD, PAUSE
from node.place import Failure
from node.sandbox import enter_existing

MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
PROGRAMS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# Enough for a libc to know users and to ask the cluster's DNS.
ETC = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"
                  "nonroot:x:65532:65532:nonroot:/home/nonroot:/bin/sh\n",
    "etc/group": "root:x:0:\nnogroup:x:65534:\nnonroot:x:65532:\n",
    "etc/nsswitch.conf": "hosts: files dns\n",
}


class Image:
    """An image in the making."""

    def __init__(self, name, entrypoint=None, user=None, environment=()):
        self.name = name
        self.settings = {"Env": [f"PATH={PROGRAMS}", *environment], "WorkingDir": "/"}
        if entrypoint:
            self.settings["Entrypoint"] = entrypoint
        if user:
            self.settings["User"] = user
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

    def add(self, source, path):
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
            with source.open("rb") as content:
                self._add(path, tarfile.REGTYPE, status.st_mode & 0o7777, content=content, size=status.st_size)
        else:
            raise Failure(f"{source}: there is no such file")

    def binary(self, source, path):
        """A program with the shared libraries and the loader that it names, each where the loader will look."""
        self.add(source, path)
        listed = subprocess.run(["ldd", str(source)], capture_output=True, text=True)
        if "not found" in listed.stdout:
            raise Failure(f"{source}: ldd misses a library:\n{listed.stdout}")
        for library in re.findall(r"(?:=> |^\s+)(/\S+) \(0x", listed.stdout, re.MULTILINE):
            self.add(library, library)

    def write(self, archive):
        """Writes the archive to a file object."""
        self._layer.close()
        self._file.seek(0)
        digest = hashlib.file_digest(self._file, "sha256").hexdigest()
        config = json.dumps({
            "architecture": MACHINES[platform.machine()],
            "os": "linux",
            "config": self.settings,
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        }).encode()
        names = {"config": f"{hashlib.sha256(config).hexdigest()}.json", "layer": f"{digest}/layer.tar"}
        manifest = json.dumps(
            [{"Config": names["config"], "RepoTags": [self.name], "Layers": [names["layer"]]}]).encode()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for name, content in (("manifest.json", manifest), (names["config"], config)):
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
            entry = tarfile.TarInfo(names["layer"])
            entry.size = self._file.seek(0, os.SEEK_END)
            self._file.seek(0)
            tar.addfile(entry, self._file)
        archive.flush()

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


def pause(place):
    image = Image(PAUSE, entrypoint=["/pause"], user="65532")
    image.add(place.programs / "pause", "/pause")
    return image


def busybox(name=BUSYBOX, **settings):
    """A shell and the usual programs, statically linked; without a command of its own it is a shell."""
    image = Image(name, **settings)
    program = "/bin/busybox"
    image.add(program, program)
    applets = subprocess.run([program, "--list-full"], check=True, capture_output=True, text=True).stdout
    for applet in applets.split():
        if applet != "bin/busybox":
            image.link(applet, program)
    return image


def load(archive):
    """Hands an archive (an open file) to containerd; the caller is where containerd is."""
    done = subprocess.run(["ctr", "--address", CONTAINERD, "--namespace", "k8s.io", "images", "import", "-"],
                          stdin=archive, capture_output=True, text=True)
    if done.returncode != 0:
        raise Failure(f"containerd does not take the image: {done.stderr.strip()}")
    return done.stdout


def load_image(image):
    with tempfile.TemporaryFile() as archive:
        image.write(archive)
        archive.seek(0)
        load(archive)


def load_into(place, archive):
    """The same for a cluster that is up, from outside."""
    enter_existing(place)
    return load(archive)
