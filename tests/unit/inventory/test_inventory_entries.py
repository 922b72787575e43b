"""What is written into inventories for VMs, read back by Ansible itself; people's files stay as they are."""

from __future__ import annotations

import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from localai_deploy.domain.mirrors import Mirrors
from localai_deploy.domain.plan import Change
from localai_deploy.domain.pve.credentials import ApiToken, NodeConnection
from localai_deploy.domain.pve.guest_access import GuestAccess
from localai_deploy.domain.settings import Sourced
from localai_deploy.errors import LocalaiError
from localai_deploy.inventory.own_files import InventoryFiles
from localai_deploy.inventory.query import known_names
from localai_deploy.inventory.specs import Overrides, load_hosts
from localai_deploy.inventory.vm_entry import kept_settings

ALIAS = "localai-6e3f0b52-0000-4000-8000-000000000001"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIzc3vZ0JcNvbI8gUZqP3yT0eJ3uCzJ4kq7a1Yx0aaaa"
ACCESS = GuestAccess("192.0.2.77", "admin", ALIAS, KEY, "/home/me/.ssh/lab key")
SETTINGS = {"localai_node": "pve1", "localai_models": ["hf:O/R/m.gguf"], "localai_cores": 8}
NODE = NodeConnection(
    "proxmox-a", "192.0.2.5:8443", ApiToken("tool@pve", "run", "planted-secret"), fingerprint="ab" * 32
)
ENVIRONMENT = {"PROXMOX_HOST": "192.0.2.5", "PROXMOX_USER": "a@pve", "PROXMOX_TOKEN_ID": "run"}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in {**ENVIRONMENT, "PROXMOX_TOKEN_SECRET": "s"}.items():
        monkeypatch.setenv(name, value)


def begin(
    directory: Path, node: NodeConnection | None = None, access: GuestAccess = ACCESS
) -> InventoryFiles:
    files = InventoryFiles(directory)
    files.put_vm("llm", SETTINGS, access, in_inference=True)
    files.put_groups("pve1", node)
    files.write()
    return InventoryFiles(directory)


def tree(directory: Path) -> dict[str, str]:
    return {str(one.relative_to(directory)): one.read_text() for one in directory.rglob("*") if one.is_file()}


def words_of(directory: Path, name: str = "llm") -> tuple[str, ...]:
    """The entry's words for ssh after Ansible's own reader and templating."""
    return load_hosts([name], directory, Overrides())[0].connection.ssh_args


def ssh_options(words: tuple[str, ...]) -> dict[str, str]:
    """What ssh makes of them."""
    done = subprocess.run(
        ["ssh", "-F", "none", "-G", *words, "192.0.2.77"], capture_output=True, text=True, check=True
    )
    return dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)


def test_a_new_inventory(tmp_path: Path) -> None:
    directory = tmp_path / "home"
    begin(directory, NODE)
    assert set(tree(directory)) == {
        "hosts.yml",
        "proxmox_vms.yml",
        "known_hosts.txt",
        "host_vars/llm/localai-deploy.yml",
    }
    assert (directory / "known_hosts.txt").read_text() == f"{ALIAS} {KEY}\n"
    assert known_names(directory) >= {"llm", "pve1", "proxmox_vms", "proxmox_nodes", "bare_metal", "wsl"}
    (host,) = load_hosts([], directory, Overrides())
    assert host.settings["localai_cores"] == Sourced(8, "host_vars/llm/localai-deploy.yml:7")
    assert host.settings["localai_node"].value == "pve1"
    assert host.vm is not None
    assert (host.vm.node.host, host.vm.node.node) == ("192.0.2.5:8443", "proxmox-a")
    assert (host.vm.node.token.user, host.vm.node.token.name) == ("tool@pve", "run")
    assert host.vm.node.fingerprint == "ab" * 32
    assert "planted-secret" not in "".join(tree(directory).values())


def test_what_is_written_is_clean_yaml(tmp_path: Path) -> None:
    begin(tmp_path / "home", NODE)
    rules = Path(__file__).parents[3] / ".yamllint"
    done = subprocess.run(
        ["yamllint", "--strict", "-c", rules, tmp_path / "home"], capture_output=True, text=True
    )
    assert done.stdout + done.stderr == ""


def test_the_sandbox_is_no_entry(tmp_path: Path) -> None:
    begin(tmp_path / "home")
    text = (tmp_path / "home" / "hosts.yml").read_text()
    assert yaml.safe_load(text)["proxmox_nodes"] is None


def test_the_vault_command_of_a_new_inventory_does_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "home"
    begin(directory, NODE)
    lines = (directory / "hosts.yml").read_text().splitlines()
    (start,) = (number for number, line in enumerate(lines) if "mkdir -p host_vars/pve1" in line)
    command = "\n".join(line.strip().removeprefix("#") for line in lines[start : start + 2])
    (tmp_path / "password").write_text("open sesame\n")
    monkeypatch.setenv("ANSIBLE_VAULT_PASSWORD_FILE", str(tmp_path / "password"))
    monkeypatch.setenv("PROXMOX_TOKEN_SECRET", "planted-secret")
    subprocess.run(["sh", "-ec", command], cwd=directory, check=True, capture_output=True)
    monkeypatch.delenv("PROXMOX_TOKEN_SECRET")
    assert "planted-secret" not in "".join(tree(directory).values())
    (host,) = load_hosts([], directory, Overrides(), tmp_path / "password")
    assert host.vm is not None
    assert host.vm.node.token.secret == "planted-secret"


@pytest.mark.parametrize(
    "name", ["home", "my home", "it's", "50%h", "{{ x }}", "ümlaut", "#1", "a;b&c", "back\\slash"]
)
def test_the_pinned_key_is_found_wherever_the_inventory_lies(tmp_path: Path, name: str) -> None:
    directory = tmp_path / name
    begin(directory)
    options = ssh_options(words_of(directory))
    assert options["hostkeyalias"] == ALIAS
    assert options["stricthostkeychecking"] == "true"
    assert options["globalknownhostsfile"] == "/dev/null"
    assert options["userknownhostsfile"].replace("%%", "%") == f"{directory}/known_hosts.txt"


def test_ways_to_the_guest_come_first_and_stay_whole(tmp_path: Path) -> None:
    proxy = 'ProxyCommand="/opt/my tools/relay" connect %h %p {{ not_a_template }}'
    access = GuestAccess("192.0.2.77", "admin", ALIAS, KEY, ssh_args=("-o", proxy, "-4"))
    begin(tmp_path / "home", access=access)
    assert words_of(tmp_path / "home")[:3] == ("-o", proxy, "-4")


def test_what_flags_said_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    flags = {
        "localai_node": "pve1",
        "localai_cores": 8,
        "localai_ssh_key": "~/keys/lab",
        "localai_models": ("file:models/a.gguf", "hf:O/R/b.gguf", "file:/srv/c.gguf", "file:///srv/d.gguf"),
        "localai_nameservers": ("192.0.2.1",),
        "localai_mirrors": Mirrors(apt="https://mirror.example.org/apt"),
        "localai_host_key": "SHA256:" + "a" * 43,
    }
    settings = {key: Sourced(value, f"flag --{key}") for key, value in flags.items()}
    settings["localai_port"] = Sourced(9000, "host_vars/llm/localai-deploy.yml:7")
    settings["localai_bind"] = Sourced("127.0.0.1", "default")
    settings["localai_disk_gib"] = Sourced(80, "group_vars/all.yml:1")
    kept = kept_settings("llm", settings)
    assert kept.pop("localai_mirrors")["apt"] == "https://mirror.example.org/apt"
    assert kept == {
        "localai_node": "pve1",
        "localai_cores": 8,
        "localai_ssh_key": f"{tmp_path}/keys/lab",
        "localai_models": [
            f"file:{tmp_path}/models/a.gguf",
            "hf:O/R/b.gguf",
            "file:/srv/c.gguf",
            "file:///srv/d.gguf",
        ],
        "localai_nameservers": ["192.0.2.1"],
        "localai_port": 9000,
    }


def test_braces_in_a_value_stay_braces(tmp_path: Path) -> None:
    files = InventoryFiles(tmp_path / "home")
    files.put_vm("llm", {**SETTINGS, "localai_ssh_key": "/keys/{{ x }}"}, ACCESS, in_inference=True)
    files.write()
    (tmp_path / "keys").mkdir()
    with pytest.raises(LocalaiError) as caught:
        load_hosts([], tmp_path / "home", Overrides())
    assert caught.value.error_id == "ssh-key-invalid"
    assert "/keys/{{ x }}.pub" in caught.value.what


def test_writing_it_again_changes_nothing(tmp_path: Path) -> None:
    directory = tmp_path / "home"
    files = begin(directory)
    before = {one: one.stat().st_mtime_ns for one in directory.rglob("*")}
    files.put_vm("llm", SETTINGS, ACCESS, in_inference=True)
    assert files.changes() == []
    files.write()
    assert {one: one.stat().st_mtime_ns for one in directory.rglob("*")} == before


def test_a_second_vm_comes_beside_the_first(tmp_path: Path) -> None:
    directory = tmp_path / "home"
    files = begin(directory)
    first = tree(directory)
    other = GuestAccess("192.0.2.78", "admin", "localai-other", KEY)
    files.put_vm("another", SETTINGS, other, in_inference=True)
    files.write()
    assert [one.name for one in load_hosts(["proxmox_vms"], directory, Overrides())] == ["another", "llm"]
    after = tree(directory)
    assert {path for path in first if after[path] != first[path]} == {"proxmox_vms.yml", "known_hosts.txt"}
    assert InventoryFiles(directory).own_vms == ["another", "llm"]


MINE = """\
# my own words
all:
  hosts:
    nas:   {ansible_host: 192.0.2.10}   # in the den
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """An inventory that somebody wrote, with a host and no group."""
    directory = tmp_path / "mine"
    directory.mkdir()
    (directory / "inventory.yaml").write_text(MINE)
    (directory / "README.md").write_text("notes\n")
    return directory


def test_nothing_of_anybody_elses_is_rewritten(mine: Path) -> None:
    before = tree(mine)
    files = InventoryFiles(mine)
    assert not files.is_new
    files.require_free("llm", "pve1", known_names(mine))
    files.put_vm("llm", SETTINGS, ACCESS, in_inference=False)
    files.write()
    after = tree(mine)
    assert {path: after[path] for path in before} == before
    assert set(after) - set(before) == {
        "proxmox_vms.yml",
        "known_hosts.txt",
        "host_vars/llm/localai-deploy.yml",
    }
    found = [one.name for one in load_hosts([], mine, Overrides())]
    assert sorted(found) == ["llm", "nas"], "the hosts that were meant without a name still are"


@pytest.mark.parametrize("name", ["nas", "all", "ungrouped"])
def test_a_name_that_is_taken(mine: Path, name: str) -> None:
    before = tree(mine)
    with pytest.raises(LocalaiError) as caught:
        InventoryFiles(mine).require_free(name, "pve1", known_names(mine))
    assert caught.value.error_id == "inventory-host-taken"
    assert f"up -i {mine} {name}" in caught.value.hint
    assert tree(mine) == before


def test_a_vm_of_another_node_keeps_its_entry(tmp_path: Path) -> None:
    files = begin(tmp_path / "home")
    known = known_names(tmp_path / "home")
    files.require_free("llm", "pve1", known)
    with pytest.raises(LocalaiError, match="node pve1") as caught:
        files.require_free("llm", "pve2", known)
    assert caught.value.error_id == "inventory-host-taken"


@pytest.mark.parametrize("suffix", ["", ".yml", ".yaml", ".json"])
def test_variables_that_a_directory_would_hide(mine: Path, suffix: str) -> None:
    (mine / "host_vars").mkdir()
    place = mine / "host_vars" / f"llm{suffix}"
    place.write_text('{"localai_cores": 2}\n')
    files = InventoryFiles(mine)
    with pytest.raises(LocalaiError) as caught:
        files.require_free("llm", "pve1", known_names(mine))
    assert caught.value.error_id == "inventory-file-foreign"
    _, _, command = caught.value.hint.partition(f"in {mine}: ")
    subprocess.run(["sh", "-ec", command], cwd=mine, check=True)
    assert (mine / "host_vars" / "llm" / "main.yml").read_text() == '{"localai_cores": 2}\n'
    files.require_free("llm", "pve1", known_names(mine))


def test_what_stands_beside_the_entry_wins(tmp_path: Path) -> None:
    begin(tmp_path / "home")
    (tmp_path / "home" / "host_vars" / "llm" / "main.yml").write_text("localai_cores: 2\n")
    (host,) = load_hosts([], tmp_path / "home", Overrides())
    assert host.settings["localai_cores"].value == 2


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("proxmox_vms.yml", "proxmox_vms:\n  hosts:\n    mine:\n"),
        ("host_vars/llm/localai-deploy.yml", "localai_cores: 2\n"),
        ("proxmox_vms.yml", "---\n# Written by localai-deploy: …\nother: {}\n"),
        ("proxmox_vms.yml", "---\n# Written by localai-deploy: …\n[]\n"),
    ],
)
def test_a_file_of_our_name_that_is_not_ours(mine: Path, path: str, text: str) -> None:
    (mine / path).parent.mkdir(parents=True, exist_ok=True)
    (mine / path).write_text(text)
    before = tree(mine)
    with pytest.raises(LocalaiError) as caught:
        InventoryFiles(mine).put_vm("llm", SETTINGS, ACCESS, in_inference=True)
    assert caught.value.error_id == "inventory-file-foreign"
    assert path in caught.value.what
    assert tree(mine) == before


def test_a_vm_whose_line_was_taken_out_is_free_again(tmp_path: Path) -> None:
    directory = tmp_path / "home"
    begin(directory)
    text = (directory / "proxmox_vms.yml").read_text()
    (directory / "proxmox_vms.yml").write_text(text.replace("        llm: {}\n", ""))
    files = InventoryFiles(directory)
    assert files.own_vms == []
    files.require_free("llm", "pve2", known_names(directory))


def test_a_new_address_changes_the_connection_alone(tmp_path: Path) -> None:
    directory = tmp_path / "home"
    begin(directory)
    entry = directory / "host_vars" / "llm" / "localai-deploy.yml"
    entry.write_text(entry.read_text().replace("localai_cores: 8", "localai_cores: 6  # by hand"))
    before = entry.read_text()
    files = InventoryFiles(directory)
    assert files.put_access(
        "llm", GuestAccess("192.0.2.99", "admin", ALIAS, KEY, "/home/me/.ssh/lab key")
    ) == (Change("ansible_host", "192.0.2.77", "192.0.2.99"),)
    files.write()
    assert entry.read_text() == before.replace("192.0.2.77", "192.0.2.99")
    assert (directory / "known_hosts.txt").read_text() == f"{ALIAS} {KEY}\n"


def test_a_vm_made_anew_has_another_key_and_name(tmp_path: Path) -> None:
    directory = tmp_path / "home"
    begin(directory)
    known = directory / "known_hosts.txt"
    known.write_text(f"# a note\n{known.read_text()}nas ssh-ed25519 AAAA\n")
    files = InventoryFiles(directory)
    changes = files.put_access("llm", GuestAccess("192.0.2.77", "admin", "localai-new", f"{KEY}x"))
    assert {one.name for one in changes} == {
        "ansible_ssh_private_key_file",
        "ansible_ssh_common_args",
        "host key",
    }
    files.write()
    assert known.read_text() == f"# a note\nlocalai-new {KEY}x\nnas ssh-ed25519 AAAA\n"


def test_a_vm_that_somebody_wrote_down_gets_a_connection(mine: Path) -> None:
    (mine / "vms.yml").write_text("inference:\n  hosts:\n    llm:\n      localai_node: pve1\n")
    before = tree(mine)
    files = InventoryFiles(mine)
    files.put_access("llm", ACCESS)
    files.write()
    assert {path: text for path, text in tree(mine).items() if path in before} == before
    assert ssh_options(words_of(mine))["hostkeyalias"] == ALIAS
    assert shlex.join(words_of(mine)).startswith("-o HostKeyAlias=")


def test_two_runs_at_once_lose_nothing(tmp_path: Path) -> None:
    directory = tmp_path / "home"
    files = begin(directory)
    other = InventoryFiles(directory)
    other.put_vm("other", SETTINGS, replace(ACCESS, alias="localai-other"), in_inference=True)
    files.put_vm("third", SETTINGS, replace(ACCESS, alias="localai-third"), in_inference=True)
    other.write()
    before = tree(directory)
    with pytest.raises(LocalaiError) as caught:
        files.write()
    assert caught.value.error_id == "inventory-changed"
    assert tree(directory) == before
    again = InventoryFiles(directory)
    again.put_vm("third", SETTINGS, replace(ACCESS, alias="localai-third"), in_inference=True)
    again.write()
    assert InventoryFiles(directory).own_vms == ["llm", "other", "third"]
    assert len((directory / "known_hosts.txt").read_text().splitlines()) == 3


def test_two_new_inventories_at_once(tmp_path: Path) -> None:
    first, second = InventoryFiles(tmp_path / "home"), InventoryFiles(tmp_path / "home")
    for files in (first, second):
        files.put_groups("", None)
    first.write()
    with pytest.raises(LocalaiError) as caught:
        second.write()
    assert caught.value.error_id == "inventory-changed"


def test_modes_are_those_of_the_user(tmp_path: Path) -> None:
    directory = tmp_path / "home"
    begin(directory)
    known = directory / "known_hosts.txt"
    assert known.stat().st_mode & 0o777 == (directory / "hosts.yml").stat().st_mode & 0o777
    known.chmod(0o600)
    files = InventoryFiles(directory)
    files.put_access("llm", replace(ACCESS, host_key=f"{KEY}x"))
    files.write()
    assert known.stat().st_mode & 0o777 == 0o600
