"""The lab's own mirror as a process that outlives the one that started it."""

from __future__ import annotations

import fcntl
import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.lab.layout import REPOSITORY, Lab, LabError
from tests.lab.mirror import Mirror
from tests.lab.mirror_client import MirrorClient
from tests.lab.mirror_files import mirror_content
from tests.lab.mirror_tls import Authority
from tests.lab.network import (
    MIRROR_NAMES,
    add_mirror_address,
    host_names,
    mirror_address,
    remove_mirror_address,
)

HTTP_PORT = 8400
HTTPS_PORT = 8443

_START_TIMEOUT_S = 20.0


def mirror_client(lab: Lab) -> MirrorClient:
    """Control of the lab's mirror, whether it runs or not."""
    return MirrorClient(f"http://{mirror_address(lab)}:{HTTP_PORT}")


def https_url(lab: Lab) -> str:
    """Base URL of the same content over TLS, with a certificate of the lab's authority."""
    return f"https://{mirror_address(lab)}:{HTTPS_PORT}"


def mirror_urls(lab: Lab) -> dict[str, str]:
    """The mirror as the product's ``localai_mirrors``.

    pip takes no index over plain http and checks no certificate of a bare address, hence https by name:
    only hosts of the lab know that name.
    """
    plain = mirror_client(lab).base_url
    return {
        "conda": f"{plain}/conda",
        "huggingface": f"{plain}/hf",
        "pypi": f"https://{MIRROR_NAMES[0]}:{HTTPS_PORT}/pypi/simple",
    }


def ensure_authority(lab: Lab) -> Authority:
    """The lab's certificate authority, which hosts trust."""
    authority = Authority(lab.tls)
    with lab.lock("tls"):
        authority.ensure()
    return authority


def serve(lab: Lab) -> None:
    """Be the lab's mirror until SIGTERM; raises LabError when another process is it."""
    lab.mirror.mkdir(parents=True, exist_ok=True)
    with (lab.mirror / "pid").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LabError("the lab's mirror runs already") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        _serve(lab)


def _serve(lab: Lab) -> None:
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    add_mirror_address(lab)
    with Mirror(mirror_content(lab)) as mirror:
        address = mirror_address(lab)
        tls = ensure_authority(lab).server_context(address, MIRROR_NAMES)
        mirror.listen(address, HTTPS_PORT, tls)
        mirror.listen(address, HTTP_PORT)
        signal.sigwait(signals)


def ensure_mirror(lab: Lab) -> str:
    """The base URL of the lab's mirror, which is started when it is not there.

    One that runs older code is replaced, unless hosts are up that may be using it.
    """
    client = mirror_client(lab)
    with lab.lock("mirror"):
        if _is_outdated(lab) and not host_names(lab):
            _stop(lab)
        if running_pid(lab) is None:
            _start(lab, client)
    return client.base_url


def _is_outdated(lab: Lab) -> bool:
    code = lab.mirror / "code"
    return not code.is_file() or code.read_text() != _code_digest()


def _code_digest() -> str:
    here = Path(__file__).parent
    sources = (*here.glob("mirror*.py"), here / "hub.py")
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(sources))).hexdigest()


def _start(lab: Lab, client: MirrorClient) -> None:
    lab.mirror.mkdir(parents=True, exist_ok=True)
    (lab.mirror / "code").write_text(_code_digest())
    with (lab.mirror / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.lab", "--lab", str(lab.directory), "mirror"],
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    deadline = time.monotonic() + _START_TIMEOUT_S
    while not client.is_up():
        if process.poll() is not None or time.monotonic() > deadline:
            raise LabError(f"the lab's mirror does not start; see {lab.mirror / 'log'}")
        time.sleep(0.05)


def running_pid(lab: Lab) -> int | None:
    """The mirror's process; None when none holds the lock."""
    try:
        with (lab.mirror / "pid").open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return None
    except BlockingIOError:
        return int((lab.mirror / "pid").read_text())
    return None


def stop_mirror(lab: Lab) -> None:
    """End the lab's mirror, if it runs, and take its address back."""
    with lab.lock("mirror"):
        _stop(lab)
        remove_mirror_address(lab)


def _stop(lab: Lab) -> None:
    pid = running_pid(lab)
    if pid is not None:
        os.kill(pid, signal.SIGTERM)
    while running_pid(lab) is not None:
        time.sleep(0.05)
