"""A host at the seam where real ones are: ``python -m tests.unit.cli.host_double CASES WORDS…``.

``CASES`` are names of golden cases whose facts the hosts show, separated by commas, each as ``HOST=CASE``;
``HOST=down`` does not answer. Nothing is installed: a host's address refuses every connection.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NoReturn

from localai_deploy.domain.connection import Connection
from localai_deploy.domain.facts import HostFacts
from localai_deploy.errors import LocalaiError
from localai_deploy.targets.executor import Completed
from localai_deploy.targets.standing import StandingHost

CASES = Path(__file__).parents[2] / "golden" / "cases"
MODEL = "hf:ORG/REPO/small-q4.gguf"


class IdleExecutor:
    """Every command does nothing and says nothing."""

    display = "double"

    def run(self, argv: Sequence[str], **_: Any) -> Completed:
        return Completed(0, b"", b"")

    def open(self, argv: Sequence[str]) -> NoReturn:
        raise NotImplementedError(argv)


class HostDouble(StandingHost):
    """Shows the facts of a golden case (see :class:`localai_deploy.targets.base.Target`)."""

    def __init__(self, name: str, case: str) -> None:
        self.name = name
        self._case = case

    @property
    def connection(self) -> Connection:
        return Connection("ssh", "127.0.0.1", port=1)

    def connect(self) -> IdleExecutor:
        if self._case == "down":
            raise LocalaiError("host-unreachable", f"no SSH connection to {self.name}", hint="is it up?")
        return IdleExecutor()

    def observe(self) -> HostFacts:
        self.connect()
        data = json.loads((CASES / self._case / "facts.json").read_text())
        recorded = {one["file_name"]: one for one in (data.get("deployment") or {}).get("models", [])}
        for model in data.get("models", []):
            model["revision"] = recorded.get(model["file_name"], {}).get("revision", "")
        return HostFacts.from_data(data)

    def hold(self) -> AbstractContextManager[None]:
        return nullcontext()

    def require_held(self) -> None:
        """Nobody else wants it."""

    def inventory_variables(self, *, shared: bool = True) -> dict[str, Any]:
        return {"ansible_host": "127.0.0.1", "ansible_port": 1}

    def close(self) -> None:
        """Nothing is open."""


def opener(cases: dict[str, str]) -> Any:
    """In place of ``open_target``."""

    def open_target(name: str, connection: Connection, *, become_password: str = "") -> HostDouble:
        return HostDouble(name, cases[name])

    return open_target


def no_header(url: str, token: str | None = None, *, plain: bool = False) -> NoReturn:
    """In place of ``read_remote``: no test asks a hub that is far away."""
    raise LocalaiError("hub-unreachable", f"{url} does not answer")


def main() -> None:
    from localai_deploy.cli.main import main as program
    from localai_deploy.workflow import deploy, host_fit

    cases = dict(pair.split("=") for pair in sys.argv[1].split(","))
    deploy.open_target = opener(cases)
    host_fit.read_remote = no_header
    sys.argv = ["localai-deploy", *sys.argv[2:]]
    program()


if __name__ == "__main__":
    main()
