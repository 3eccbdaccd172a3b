"""Images for the pods of the tests, by the same code as the project's own image (deploy/image/archive.py)."""

import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[3] / "deploy" / "image"))

from archive import PROGRAMS, Image, Unusable  # noqa: E402, F401

from node.components import BUSYBOX, CONTAINERD, PAUSE  # noqa: E402
from node.place import Failure  # noqa: E402
from node.sandbox import enter_existing  # noqa: E402


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
