"""``config check``: what is wrong is told with file, line and column, all at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from localai_deploy.inventory.check import Checked, check_inventory
from localai_deploy.inventory.specs import Overrides

MODEL = "localai_models: [hf:ORG/REPO/a.gguf]\n"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    root = tmp_path / "home"
    (root / "host_vars" / "nas").mkdir(parents=True)
    (root / "group_vars").mkdir()
    (root / "hosts.yml").write_text(
        "inference:\n  hosts:\n    nas:\n      ansible_host: 192.0.2.7\n    den:\n  vars:\n    " + MODEL
    )
    return root


def check(home: Path, *more: Path, password: Path | None = None) -> Checked:
    return check_inventory([], [home, *more], Overrides(), password)


def told(checked: Checked) -> list[tuple[str, int, int, str]]:
    return [
        (one.place.file, one.place.line, one.place.column, one.error.error_id) for one in checked.problems
    ]


def test_an_inventory_that_is_right(home: Path) -> None:
    assert check(home) == Checked(["nas", "den"], [])


def test_all_typos_at_once_also_where_nobody_looks(home: Path) -> None:
    (home / "host_vars" / "nas" / "main.yml").write_text("---\n# mine\nlocalai_prot: 9000\n")
    (home / "group_vars" / "inference.yml").write_text("localai_contxt_length: 1\n")
    (home / "group_vars" / "later.yml").write_text("localai_paralel: 2\n")
    hosts = home / "hosts.yml"
    hosts.write_text(
        hosts.read_text() + "    localai_modles: []\nlater:\n  hosts:\n    x: {localai_prt: 1}\n"
    )
    checked = check(home)
    assert told(checked) == [
        ("group_vars/inference.yml", 1, 1, "variable-unknown"),
        ("group_vars/later.yml", 1, 1, "variable-unknown"),
        ("host_vars/nas/main.yml", 3, 1, "variable-unknown"),
        ("hosts.yml", 8, 5, "variable-unknown"),
        ("hosts.yml", 11, 9, "variable-unknown"),
    ]
    assert checked.problems[2].error.why == "did you mean localai_port?"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("localai_port: lots", "expected a whole number from 1 to 65535"),
        ("localai_port: 70000", "expected a whole number from 1 to 65535"),
        ("localai_runtime: olama", "expected one of llama_cpp"),
        ("localai_trust_first_download: 'yes'", "expected true or false"),
        ("localai_models: {a: b}", ""),
    ],
)
def test_values_of_another_kind(home: Path, text: str, why: str) -> None:
    (home / "host_vars" / "nas" / "main.yml").write_text(f"---\n{text}\n")
    (problem,) = check(home).problems
    assert (str(problem.place), problem.place.column) == ("host_vars/nas/main.yml:2", 1)
    assert problem.error.error_id in {"setting-invalid", "model-reference-invalid"}
    assert why in problem.error.why


def test_a_group_s_value_is_told_once(home: Path) -> None:
    (home / "group_vars" / "inference.yml").write_text("localai_port: 0\n")
    assert told(check(home)) == [("group_vars/inference.yml", 1, 1, "setting-invalid")]


def test_two_hosts_of_one_name(home: Path) -> None:
    (home / "hosts.yml").write_text(
        "inference:\n  vars: {"
        + MODEL.strip()
        + "}\n  hosts:\n    nas: {ansible_host: 192.0.2.7}\n    nas: {ansible_host: 192.0.2.8}\n"
    )
    (problem, other) = check(home).problems
    assert (str(problem.place), problem.place.column) == ("hosts.yml:5", 5)
    assert "line 4 already" in problem.error.why
    assert other.error.what == "hosts.yml:5: two hosts are called nas"
    assert "ansible_host is 192.0.2.8 here and 192.0.2.7 in hosts.yml:4" in other.error.why


def test_two_machines_of_one_name_in_two_files(home: Path) -> None:
    (home / "more.yml").write_text("other:\n  hosts:\n    nas: {ansible_host: 192.0.2.9}\n")
    (problem,) = check(home).problems
    assert problem.error.error_id == "inventory-name-twice"
    assert {"hosts.yml:4", "more.yml:3"} <= set(
        f"{problem.error.what} {problem.error.why}".replace(";", " ").replace(": ", " ").split()
    )


def test_a_later_inventory_may_say_it_differently(home: Path, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "hosts.yml").write_text("inference: {hosts: {nas: {ansible_host: 192.0.2.9}}}\n")
    assert check(home, tmp_path / "site").problems == []


def test_a_file_that_nobody_reads(home: Path) -> None:
    (home / "host_vars" / "nass.yml").write_text("localai_port: 9000\n")
    (home / "host_vars" / "gone-for-good.yml").write_text("localai_port: 9000\n")
    (problem,) = check(home).problems
    assert (problem.error.error_id, str(problem.place)) == ("inventory-file-unused", "host_vars/nass.yml")
    assert problem.error.why == "did you mean nas?"


def vaulted(path: Path, text: str, password: Path) -> None:
    path.write_text(text)
    program = Path(sys.executable).with_name("ansible-vault")
    subprocess.run(
        [program, "encrypt", "--vault-password-file", password, path], check=True, capture_output=True
    )


def test_a_vaulted_file(home: Path, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("open sesame\n")
    vaulted(home / "host_vars" / "nas" / "vault.yml", "---\nlocalai_prot: 1\nlocalai_port: x\n", password)
    assert told(check(home, password=password)) == [
        ("host_vars/nas/vault.yml", 2, 1, "variable-unknown"),
        ("host_vars/nas/vault.yml", 3, 1, "setting-invalid"),
    ]


def test_one_encrypted_value(home: Path, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("open sesame\n")
    program = Path(sys.executable).with_name("ansible-vault")
    words = ["encrypt_string", "--vault-password-file", str(password), "--stdin-name", "localai_prot"]
    text = subprocess.run([program, *words], input="1", capture_output=True, text=True, check=True).stdout
    (home / "host_vars" / "nas" / "main.yml").write_text(f"---\n{text}\n")
    assert told(check(home, password=password)) == [("host_vars/nas/main.yml", 2, 1, "variable-unknown")]


INI = """\
[inference]
nas ansible_host=192.0.2.7 localai_port=9000
den localai_prot=1

[inference:vars]
localai_models=hf:ORG/REPO/a.gguf

[bare_metal]
nas localai_port=lots
"""


def test_ini_with_a_host_in_two_groups(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text(INI)
    assert told(check(path)) == [
        ("hosts", 2, 28, "setting-invalid"),
        ("hosts", 3, 5, "variable-unknown"),
    ]
    path.write_text(INI.replace("lots", "9001").replace("prot=1", "port=9002"))
    assert check(path) == Checked(["nas", "den"], [])


def test_groups_and_names_of_other_tools_are_none_of_ours(home: Path) -> None:
    (home / "other.yml").write_text(
        "localai_machines:\n  hosts:\n    den:\n      mine: {localai_x: 1}\n  children:\n    localai_x: {}\n"
    )
    (home / "README.md").write_text("localai_what=1\n")
    (home / "script.cfg").write_text("[defaults]\nlocalai_x = 1\n")
    assert check(home).problems == []


@pytest.mark.parametrize(
    ("gateways", "error_id"),
    [
        ("nas:", None),
        ("nas:\n    den:", "gateway-several"),
        ("printer:", "gateway-not-inference"),
        ("den:\n      localai_models: []", "gateway-model-open"),
    ],
)
def test_group_gateway(home: Path, gateways: str, error_id: str | None) -> None:
    (home / "gateway.yml").write_text(f"gateway:\n  hosts:\n    {gateways}\n")
    assert [one.error.error_id for one in check(home).problems] == ([error_id] if error_id else [])
