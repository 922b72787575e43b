from __future__ import annotations

from pathlib import Path

import pytest

from localai_deploy.domain.settings import Sourced
from localai_deploy.errors import InputError
from localai_deploy.inventory.specs import Overrides, load_hosts

NO_FLAGS = Overrides()


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    root = tmp_path / "home"
    (root / "host_vars" / "nas").mkdir(parents=True)
    (root / "group_vars").mkdir()
    (root / "hosts.yml").write_text(
        "inference:\n"
        "  children:\n"
        "    bare_metal:\n"
        "      hosts:\n"
        "        nas:\n"
        "          ansible_host: 192.0.2.7\n"
        "          ansible_user: admin\n"
        "          ansible_port: 2222\n"
        "        den:\n"
        "          localai_context_length: 2048\n"
        "other:\n"
        "  hosts:\n"
        "    printer:\n"
    )
    (root / "host_vars" / "nas" / "main.yml").write_text("---\n# comment\nlocalai_port: 9000\n")
    (root / "group_vars" / "inference.yml").write_text(
        "localai_port: 8000\nlocalai_models:\n  - hf:ORG/REPO/a.gguf\n"
    )
    return root


def test_hosts_of_the_inference_group_are_the_default(inventory: Path) -> None:
    assert [host.name for host in load_hosts([], inventory, NO_FLAGS)] == ["nas", "den"]


def test_values_know_their_file_and_line(inventory: Path) -> None:
    nas, den = load_hosts([], inventory, NO_FLAGS)
    assert nas.settings["localai_port"] == Sourced(9000, "host_vars/nas/main.yml:3")
    assert den.settings["localai_port"] == Sourced(8000, "group_vars/inference.yml:1")
    assert den.settings["localai_context_length"] == Sourced(2048, "hosts.yml:10")
    assert nas.settings["localai_models"].value == ("hf:ORG/REPO/a.gguf",)
    assert nas.settings["localai_bind"] == Sourced("127.0.0.1", "default")


def test_of_several_inventories_the_later_one_wins_as_in_ansible(inventory: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    (site / "group_vars").mkdir(parents=True)
    (site / "hosts.yml").write_text(
        "inference:\n  hosts:\n    nas: {ansible_host: 192.0.2.9, localai_port: 9001}\n    new:\n"
    )
    (site / "group_vars" / "inference.yml").write_text("localai_port: 8001\n")
    found = {one.name: one for one in load_hosts([], [inventory, site], NO_FLAGS)}
    assert sorted(found) == ["den", "nas", "new"]
    assert found["nas"].connection.destination == "192.0.2.9"
    assert found["nas"].connection.port == 2222
    ports = {name: one.settings["localai_port"] for name, one in found.items()}
    assert ports["nas"] == Sourced(9000, f"{inventory}/host_vars/nas/main.yml:3")
    assert ports["den"] == ports["new"] == Sourced(8001, f"{site}/group_vars/inference.yml:1")
    assert found["new"].settings["localai_models"].value == ("hf:ORG/REPO/a.gguf",)
    turned = {one.name: one for one in load_hosts([], [site, inventory], NO_FLAGS)}
    assert turned["nas"].connection.destination == "192.0.2.7"
    assert turned["den"].settings["localai_port"].value == 8000
    with pytest.raises(InputError, match="does not exist"):
        load_hosts([], [inventory, tmp_path / "none"], NO_FLAGS)


def test_flag_beats_host_vars(inventory: Path) -> None:
    flags = Overrides({"localai_port": Sourced(7000, "flag --port")})
    assert load_hosts(["nas"], inventory, flags)[0].settings["localai_port"].source == "flag --port"


def test_connection_comes_from_ansible_variables(inventory: Path) -> None:
    connection = load_hosts(["nas"], inventory, NO_FLAGS)[0].connection
    assert (connection.destination, connection.user, connection.port) == ("192.0.2.7", "admin", 2222)


def test_patterns_of_ansible_work(inventory: Path) -> None:
    assert [host.name for host in load_hosts(["bare_metal:!den"], inventory, NO_FLAGS)] == ["nas"]
    assert [host.name for host in load_hosts(["d*"], inventory, NO_FLAGS)] == ["den"]


def test_unknown_variable_names_file_line_and_suggestion(inventory: Path) -> None:
    (inventory / "host_vars" / "den.yml").write_text("---\nlocalai_prot: 1\n")
    with pytest.raises(InputError) as caught:
        load_hosts([], inventory, NO_FLAGS)
    assert caught.value.error_id == "variable-unknown"
    assert "host_vars/den.yml:2" in caught.value.what
    assert caught.value.why == "did you mean localai_port?"


def test_bad_value_names_file_and_line(inventory: Path) -> None:
    (inventory / "host_vars" / "den.yml").write_text("localai_port: lots\n")
    with pytest.raises(InputError) as caught:
        load_hosts(["den"], inventory, NO_FLAGS)
    assert "host_vars/den.yml:1" in caught.value.why


def test_typo_in_a_host_name_is_refused(inventory: Path) -> None:
    with pytest.raises(InputError) as caught:
        load_hosts(["nass"], inventory, NO_FLAGS)
    assert caught.value.error_id == "host-not-in-inventory"
    assert caught.value.why == "did you mean nas?"


def test_missing_inventory(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        load_hosts([], tmp_path / "none", NO_FLAGS)


def test_broken_yaml_is_a_clear_error(inventory: Path) -> None:
    (inventory / "host_vars" / "nas" / "main.yml").write_text("localai_port: [\n")
    with pytest.raises(InputError) as caught:
        load_hosts([], inventory, NO_FLAGS)
    assert caught.value.error_id == "inventory-unreadable"
    assert "main.yml" in caught.value.why


def test_vaulted_password_is_read_and_never_shown(inventory: Path, tmp_path: Path) -> None:
    import subprocess
    import sys

    password = tmp_path / "vault-password"
    password.write_text("open sesame\n")
    vaulted = inventory / "host_vars" / "nas" / "vault.yml"
    vaulted.write_text("ansible_become_password: s3cret-of-nas\n")
    program = Path(sys.executable).with_name("ansible-vault")
    subprocess.run(
        [program, "encrypt", "--vault-password-file", password, vaulted], check=True, capture_output=True
    )
    host = load_hosts(["nas"], inventory, NO_FLAGS, password)[0]
    assert host.secrets.become_password == "s3cret-of-nas"
    assert host.connection.become_password_needed
    assert "s3cret" not in repr(host)
    with pytest.raises(InputError) as caught:
        load_hosts(["nas"], inventory, NO_FLAGS)
    assert caught.value.error_id == "inventory-unreadable"


def test_without_inventory_a_name_is_an_ssh_destination() -> None:
    host = load_hosts(["admin@box"], None, NO_FLAGS)[0]
    assert (host.name, host.connection.user, host.connection.kind) == ("box", "admin", "ssh")


@pytest.mark.parametrize(
    "name", ["-oProxyCommand=x", "a b", "box;reboot", "$(id)", "box\n", "@box", "", "a/b"]
)
def test_names_with_shell_characters_are_refused(name: str) -> None:
    with pytest.raises(InputError) as caught:
        load_hosts([name], None, NO_FLAGS)
    assert caught.value.error_id == "host-name-invalid"


def test_no_host_at_all() -> None:
    with pytest.raises(InputError) as caught:
        load_hosts([], None, NO_FLAGS)
    assert caught.value.error_id == "host-missing"


def one_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "hosts.yml"
    path.write_text(text)
    return path


def test_jinja_is_resolved_as_ansible_would(tmp_path: Path) -> None:
    inventory = one_file(
        tmp_path,
        "inference:\n  hosts:\n    nas:\n"
        '      ansible_become_password: "{{ vault_password }}"\n      vault_password: hush\n'
        '      localai_port: "{{ base + 1 }}"\n      base: 8000\n'
        '      unrelated: "{{ nowhere }}"\n',
    )
    (host,) = load_hosts([], inventory, NO_FLAGS)
    assert host.secrets.become_password == "hush"
    assert host.settings["localai_port"] == Sourced(8001, "hosts.yml:6")


def test_jinja_that_cannot_be_resolved_is_named(tmp_path: Path) -> None:
    inventory = one_file(tmp_path, 'inference: {hosts: {nas: {localai_port: "{{ nowhere }}"}}}\n')
    with pytest.raises(InputError, match=r"localai_port: 'nowhere' is undefined") as caught:
        load_hosts([], inventory, NO_FLAGS)
    assert caught.value.error_id == "inventory-unreadable"


def test_one_broken_file_is_not_passed_over(inventory: Path) -> None:
    (inventory / "more.yml").write_text("inference:\n  hosts: [den\n")
    with pytest.raises(InputError, match=r"more\.yml:3") as caught:
        load_hosts([], inventory, NO_FLAGS)
    assert caught.value.error_id == "inventory-unreadable"


@pytest.mark.parametrize("name", ["box;id", "../../box", "$(id)", "a b", "-x"])
def test_a_name_is_safe_wherever_it_goes(tmp_path: Path, name: str) -> None:
    inventory = one_file(tmp_path, f"inference: {{hosts: {{'{name}': {{ansible_host: box}}}}}}\n")
    with pytest.raises(InputError) as caught:
        load_hosts([], inventory, NO_FLAGS)
    assert caught.value.error_id == "host-name-invalid"


@pytest.mark.parametrize(
    "variable", ["ansible_port: ssh", "ansible_port: -1", 'ansible_ssh_common_args: "-o \'x"']
)
def test_a_connection_variable_that_is_wrong(tmp_path: Path, variable: str) -> None:
    inventory = one_file(tmp_path, f"inference:\n  hosts:\n    nas:\n      {variable}\n")
    with pytest.raises(InputError, match=r"ansible_\w+ of nas") as caught:
        load_hosts([], inventory, NO_FLAGS)
    assert caught.value.error_id == "setting-invalid"


@pytest.mark.parametrize("written", ["'pass word'", '"pass word\\n"', "|\n        pass word\n"])
def test_a_password_ends_before_its_line_break(tmp_path: Path, written: str) -> None:
    text = f"inference:\n  hosts:\n    nas:\n      ansible_become_password: {written}\n"
    (host,) = load_hosts([], one_file(tmp_path, text), NO_FLAGS)
    assert host.secrets.become_password == "pass word"


@pytest.mark.parametrize("written", ['"first\\nsecond"', '"a\\tb"', '"a\\0b"'])
def test_a_password_of_several_lines_is_refused_unseen(tmp_path: Path, written: str) -> None:
    text = f"inference:\n  hosts:\n    nas:\n      ansible_become_password: {written}\n"
    with pytest.raises(InputError, match="not one line") as caught:
        load_hosts([], one_file(tmp_path, text), NO_FLAGS)
    assert caught.value.error_id == "setting-invalid"
    assert "first" not in str(caught.value) + caught.value.hint


GATEWAY = "gateway:\n  hosts:\n    den:\n      localai_api_gateway_port: 4001\n"


def test_the_gateway_knows_all_replicas_whichever_are_asked_for(inventory: Path) -> None:
    (inventory / "gateway.yml").write_text(GATEWAY)
    (den,) = load_hosts(["den"], inventory, NO_FLAGS)
    assert den.gateway is not None
    assert (den.gateway.port, den.spec().gateway) == (4001, den.gateway)
    assert [(one.name, one.port, one.model) for one in den.gateway.replicas] == [
        ("nas", 9000, "a"),
        ("den", 8000, "a"),
    ]
    (nas,) = load_hosts(["nas"], inventory, NO_FLAGS)
    assert nas.gateway is None
    assert load_hosts([], inventory, NO_FLAGS, limit="den") == [den]
    assert load_hosts([], inventory, NO_FLAGS, limit="nas") == [nas]


@pytest.mark.parametrize(
    ("group", "error_id"),
    [("    nas:\n", "gateway-several"), ("", "gateway-not-inference")],
)
def test_group_gateway_is_checked(inventory: Path, group: str, error_id: str) -> None:
    hosts = GATEWAY + group if group else GATEWAY.replace("den", "printer")
    (inventory / "gateway.yml").write_text(hosts)
    with pytest.raises(InputError) as caught:
        load_hosts([], inventory, NO_FLAGS)
    assert caught.value.error_id == error_id


def test_a_host_knows_where_it_is_listed_and_where_its_password_is(inventory: Path) -> None:
    (inventory / "host_vars" / "nas" / "vault.yml").write_text("---\nansible_become_pass: secret\n")
    nas, den = load_hosts([], inventory, NO_FLAGS)
    assert (nas.place, nas.secrets.become_source) == ("hosts.yml:5", "host_vars/nas/vault.yml:2")
    assert (den.place, den.secrets.become_source) == ("hosts.yml:9", "")
    (asked,) = load_hosts(["nas"], inventory, Overrides(become_password="typed"))
    assert "terminal" in asked.secrets.become_source
    (ad_hoc,) = load_hosts(["admin@192.0.2.7"], None, NO_FLAGS)
    assert ad_hoc.place == ""


def test_a_host_of_an_ini_file_knows_its_line(tmp_path: Path) -> None:
    (tmp_path / "hosts.ini").write_text("# nas\n[inference]\nden\nnas ansible_host=192.0.2.7\n")
    (nas,) = load_hosts(["nas"], tmp_path / "hosts.ini", NO_FLAGS)
    assert nas.place == "hosts.ini:4"
