"""The token's secret is nowhere but in the calls to its node: not in what is said, started or kept."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from localai_deploy.proxmox import client
from tests.unit.cli.conftest import BIN, Ended
from tests.unit.cli.node_double import IMAGE, Node, serving

WRONG = "0f0f0f0f-planted-secret-that-is-wrong"
MODEL = ("--model", "hf:ORG/REPO/small-q4.gguf")
NEW = ("--node", "pve1", "--name", "new", "--image", IMAGE, *MODEL)
COMMANDS = (
    ("config", "show", "--node", "pve1", "llm"),
    ("plan", *NEW),
    ("up", *NEW, "--yes", "-v"),
    ("up", *NEW, "--yes", "--write-inventory", "DIR/new"),
    ("render", "-d", "DIR/project", *NEW),
    ("status", "--node", "pve1"),
    ("verify", "--node", "pve1", "llm"),
    ("model", "list", "--node", "pve1", "llm"),
    ("down", "--node", "pve1", "llm", "--yes", "-v"),
    ("node", "permissions", "pve1"),
    ("node", "permissions", "pve1", "--apply"),
)
OF_INVENTORY = (
    ("config", "show"),
    ("config", "show", "pve1"),
    ("config", "check"),
    ("plan", "llm"),
    ("status",),
    ("inventory", "refresh", "--yes"),
    ("inventory", "refresh", "--check"),
    ("up", "llm", "--yes", "--write-inventory", "DIR/other"),
    ("down", "llm", "--yes"),
)
started: list[Any] = []
_watch = {"on": False}


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if _watch["on"] and event in {"subprocess.Popen", "os.exec", "os.posix_spawn", "os.system"}:
        started.append(arguments[:2])


sys.addaudithook(_hear)


@pytest.fixture
def node(environment: dict[str, str]) -> Iterator[Node]:
    with serving() as node:
        environment |= node.environment
        node.add_vm("llm", 1001)
        started.clear()
        _watch["on"] = True
        yield node
        _watch["on"] = False


@pytest.fixture
def look(run: Callable[..., Ended], tmp_path: Path) -> Callable[..., Ended]:
    """Run a command as text and as JSON, and look for a secret in everything that it leaves.

    ``besides`` is the one file that may hold it: its owner's own.
    """

    def look(secret: str, *words: str, besides: Path | None = None) -> Ended:
        words = tuple(word.replace("DIR", str(tmp_path)) for word in words)
        ends = [run(*words), run(*words, "-o", "json")]
        files = [one for one in tmp_path.rglob("*") if one.is_file() and one != besides]
        assert secret not in "".join(end.out + end.err for end in ends)
        assert secret not in repr(started)
        assert [one for one in files if secret.encode() in one.read_bytes()] == []
        return ends[0]

    return look


def test_the_watch_sees_what_is_started(node: Node) -> None:
    subprocess.run(["true", "planted-word"], check=True)
    assert "planted-word" in repr(started)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_secret_of_the_environment(words: tuple[str, ...], look: Callable[..., Ended], node: Node) -> None:
    look(node.secret, *words)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_secret_that_the_node_refuses(
    words: tuple[str, ...], look: Callable[..., Ended], node: Node, environment: dict[str, str]
) -> None:
    environment["PROXMOX_TOKEN_SECRET"] = WRONG
    done = look(WRONG, *words)
    assert "[pve-auth-failed]" in done.err + done.out or words[0] == "config"


@pytest.mark.parametrize("change", [{"PROXMOX_FINGERPRINT": "00" * 32}, {"PROXMOX_HOST": "127.0.0.1:9"}])
@pytest.mark.parametrize("words", COMMANDS[1:], ids=" ".join)
def test_a_node_that_is_another_one_or_away(
    words: tuple[str, ...],
    change: dict[str, str],
    look: Callable[..., Ended],
    node: Node,
    environment: dict[str, str],
) -> None:
    environment |= change
    assert look(node.secret, *words).code == 3


@pytest.mark.parametrize("fault", ["401", "403", "500", "503", "595", "reset-before"])
@pytest.mark.parametrize("words", [COMMANDS[5], COMMANDS[8]], ids=" ".join)
def test_a_node_that_fails(
    words: tuple[str, ...],
    fault: str,
    look: Callable[..., Ended],
    node: Node,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client, "PAUSES_S", (0, 0))
    node.sandbox.site.faults.add(fault, times=-1)
    assert look(node.secret, *words).code != 0


@pytest.fixture
def home(node: Node, environment: dict[str, str], tmp_path: Path) -> Path:
    """An inventory with the secret in a vault, whose password is at hand."""
    for name in list(environment):
        if name.startswith("PROXMOX_"):
            del environment[name]
    password = tmp_path / "vault-password"
    password.write_text("open sesame\n")
    environment["ANSIBLE_VAULT_PASSWORD_FILE"] = str(password)
    directory = tmp_path / "home"
    (directory / "host_vars" / "pve1").mkdir(parents=True)
    (directory / "hosts.yml").write_text(
        "proxmox_nodes:\n"
        "  hosts:\n"
        "    pve1:\n"
        f"      localai_proxmox_host: {node.host}\n"
        f"      localai_proxmox_fingerprint: {node.fingerprint}\n"
        "      localai_proxmox_user: root@pam\n"
        "      localai_proxmox_token_id: sandbox\n"
        "inference:\n"
        "  hosts:\n"
        f"    llm: {{localai_node: pve1, localai_models: ['{MODEL[1]}'], localai_image: '{IMAGE}'}}\n"
    )
    vault_in(directory, node.secret, password)
    return directory


def vault_in(directory: Path, secret: str, password: Path) -> None:
    done = subprocess.run(
        [BIN / "ansible-vault", "encrypt_string", "--stdin-name", "localai_proxmox_token_secret",
         "--vault-password-file", password],
        input=secret, capture_output=True, text=True, check=True,
    )  # fmt: skip
    (directory / "host_vars" / "pve1" / "vault.yml").write_text(done.stdout)


@pytest.mark.parametrize("words", OF_INVENTORY, ids=" ".join)
def test_a_vaulted_secret(
    words: tuple[str, ...], look: Callable[..., Ended], node: Node, home: Path, environment: dict[str, str]
) -> None:
    node.answer(1001, "192.0.2.7")
    node.body(1001).power = "stopped"
    given = ("-i", str(home), "--vault-password-file", environment["ANSIBLE_VAULT_PASSWORD_FILE"])
    look(node.secret, *words, *given)
    assert any(call[2] == 200 for call in node.sandbox.site.requests) or words[0] == "config"


@pytest.mark.parametrize("words", OF_INVENTORY, ids=" ".join)
def test_a_vaulted_secret_that_the_node_refuses(
    words: tuple[str, ...], look: Callable[..., Ended], node: Node, home: Path, environment: dict[str, str]
) -> None:
    password = Path(environment["ANSIBLE_VAULT_PASSWORD_FILE"])
    vault_in(home, WRONG, password)
    look(WRONG, *words, "-i", str(home), "--vault-password-file", str(password))


@pytest.mark.parametrize(
    "broken",
    [
        f"localai_proxmox_token_secret: [{WRONG}\n",
        f"localai_proxmox_token_secret: [{WRONG}]\n",
        f"localai_proxmox_token_secret: {{a: {WRONG}}}\n",
        f"localai_proxmox_token_secre: {WRONG}\n",
        f'localai_proxmox_token_secret: "{{{{ {WRONG} }}}}"\n',
    ],
)
def test_a_secret_in_an_inventory_that_is_wrong(
    broken: str, look: Callable[..., Ended], home: Path, node: Node
) -> None:
    """Of what cannot be read or used nothing is quoted."""
    place = home / "host_vars" / "pve1" / "vault.yml"
    place.write_text(broken)
    for words in (("config", "show"), ("status",)):
        assert look(WRONG, *words, "-i", str(home), besides=place).code == 2
