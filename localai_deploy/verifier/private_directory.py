"""What one verification needs beside the inventory: Ansible's settings, SSH's shared connections, a log.

All of it lies in one directory that only this user may enter and that is gone afterwards, shared
connections included; the directory of a run that was killed goes with the next run.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from localai_deploy.scratch import ScratchDirectory, short_directory

PASSED_ON = (
    "HOME",
    "KRB5CCNAME",
    "LOGNAME",
    "PATH",
    "SSH_AUTH_SOCK",
    "TMPDIR",
    "USER",
    "XDG_CONFIG_HOME",
    "XDG_RUNTIME_DIR",
)
NAME_PREFIX = "localai-verify-"
_LONGEST_PATH = len("localai-verify-XXXXXXXX/ssh/") + 40
"""ssh calls a connection's socket by a hash of 40 letters."""
CLOSING_TIMEOUT_S = 5

_SETTINGS = """\
[defaults]
home = {directory}/ansible
host_key_checking = True
interpreter_python = auto_silent
no_target_syslog = True
nocows = True

[inventory]
any_unparsed_is_failed = True

[connection]
pipelining = True

[persistent_connection]
control_path_dir = {directory}/ssh

[ssh_connection]
control_path = %(directory)s/%%C
control_path_dir = {directory}/ssh
ssh_args = -o StrictHostKeyChecking=yes -o ControlMaster=auto -o ControlPersist=60s
"""


@contextmanager
def private_directory() -> Iterator[Path]:
    """A directory for one run; SSH connections kept open in it are closed at the end.

    Its path is short, because a control socket's may not be longer than about 100 bytes.
    """
    scratch = ScratchDirectory(NAME_PREFIX, short_directory(_LONGEST_PATH), _close_connections)
    directory = scratch.path
    try:
        (directory / "ssh").mkdir()
        (directory / "ansible.cfg").write_text(_SETTINGS.format(directory=directory), encoding="utf-8")
        yield directory
    finally:
        scratch.remove()


def child_environment(
    directory: Path, inventories: Sequence[Path], extra: Mapping[str, str]
) -> dict[str, str]:
    """Environment of the checks' process: an allow-list, ``extra``, and what this run decides.

    :raises ValueError: an inventory's path holds a comma, at which Ansible splits its list.
    """
    paths = [str(path.absolute()) for path in inventories]
    if any("," in path for path in paths):
        raise ValueError(f"an inventory's path must not contain a comma: {', '.join(paths)}")
    passed_on = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    search = [str(Path(sys.executable).parent), passed_on.get("PATH", os.defpath)]
    return {
        **passed_on,
        **extra,
        "PATH": os.pathsep.join(search),
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_CONFIG": str(directory / "ansible.cfg"),
        "ANSIBLE_INVENTORY": ",".join(paths),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _close_connections(directory: Path) -> None:
    folder = directory / "ssh"
    for socket in folder.iterdir() if folder.is_dir() else ():
        with suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(
                ["ssh", "-F", "none", "-o", f"ControlPath={socket}", "-O", "exit", "closing"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=CLOSING_TIMEOUT_S,
                check=False,
            )
