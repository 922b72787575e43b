"""``gpu list|move|release`` against an embedded node in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from localai_deploy.domain.pve.ownership import NotedCards, find_block
from tests.integration.card_place import CardPlace, card_place
from tests.integration.pve_flow import node_environment
from tests.unit.cli.conftest import Ended
from tests.unit.cli.test_schemas import problems

Run = Callable[..., Ended]


@pytest.fixture
def place(environment: dict[str, str]) -> Iterator[CardPlace]:
    with card_place() as there:
        environment |= node_environment(there.sandbox)
        environment["LOCALAI_DEPLOY_SANDBOX_DIR"] = f"{environment['HOME']}/none"
        yield there


@pytest.fixture
def two(place: CardPlace) -> CardPlace:
    """VM a, ours, runs with the card; b could; gaming is not ours and could, too."""
    a = place.add_vm(1001, "a", "gpu0", running=True, onboot=0)
    place.leases("run-0").take("gpu0", a)
    place.add_vm(1002, "b", "gpu0", onboot=0)
    place.add_vm(100, "gaming", "gpu0", ours=False, onboot=0)
    return place


def test_a_list(two: CardPlace, run: Run) -> None:
    ended = run("gpu", "list", "--node", "pve1")
    assert ended.code == 0
    header, first, second = (line.split("  ") for line in ended.out.splitlines())
    assert [one.strip() for one in header if one] == [
        "CARD",
        "ADDRESS",
        "NODE",
        "GROUP",
        "MAPPING",
        "STATE",
        "OWNER",
        "COULD USE IT",
    ]
    assert [one.strip() for one in first if one] == [
        "NVIDIA GeForce RTX 4090",
        "0000:01:00",
        "pve1",
        "14",
        "both,gpu0",
        "running",
        "1001 (a)",
        "100 (gaming), 1001 (a), 1002 (b)",
    ]
    assert [one.strip() for one in second if one][-3:] == ["free", "-", "-"]
    assert two.sandbox.site.requests
    assert {method for method, _, _ in two.sandbox.site.requests[-20:]} <= {"GET", "PUT"}


def test_a_list_of_the_whole_cluster_as_json(two: CardPlace, run: Run) -> None:
    document = run("gpu", "list", "-o", "json").data
    assert problems(document) == []
    assert [(one["node"], len(one["cards"])) for one in document["nodes"]] == [("pve1", 2), ("pve2", 0)]
    card = document["nodes"][0]["cards"][0]
    assert card["owner"]["lease"]["run"] == "run-0"
    assert (card["owner"]["vmid"], card["owner"]["how"], card["owner"]["ours"]) == (1001, "running", True)


def test_a_list_tells_of_mappings_out_of_date_and_dead_leases(two: CardPlace, run: Run) -> None:
    del two.cluster.vms[1001]
    two.cluster.nodes["pve1"].pci_devices[0]["iommugroup"] = 16
    told = run("gpu", "list", "--node", "pve1").out
    assert "mapping gpu0 is out of date: 0000:01:00 on pve1: iommugroup is 16, mapped as 14" in told
    assert "VM 1001 (a) holds a lease and is gone: the next VM takes it over" in told
    two.cluster.nodes["pve1"].pci_devices = []
    told = run("gpu", "list", "--node", "pve1").out
    assert "no card on pve1" in told
    assert "node pve1 has no card at 0000:01:00" in told


@pytest.mark.parametrize("card", ["gpu0", "01:00", "0000:01:00.0", "RTX 4090"])
def test_a_move(two: CardPlace, run: Run, card: str) -> None:
    ended = run("gpu", "move", card, "--to", "b", "--node", "pve1", "--yes")
    assert ended.code == 0, ended
    assert "  - shut VM 1001 (a) down" in ended.err
    assert "the agent of VM 1002 (b) does not tell what its guest sees" in ended.err
    assert ended.out == "VM 1002 (b) has NVIDIA GeForce RTX 4090 (0000:01:00)\n"
    assert (two.power(1001), two.power(1002)) == ("stopped", "running")
    again = run("gpu", "move", card, "--to", "b", "--node", "pve1", "-o", "json")
    assert problems(again.data) == []
    assert (again.code, again.data["changed"]) == (0, False)


def test_a_move_as_json(two: CardPlace, run: Run) -> None:
    document = run("gpu", "move", "gpu0", "--to", "1002", "--node", "pve1", "--yes", "-o", "json").data
    assert problems(document) == []
    assert document["before"] == {"vm": "a", "vmid": 1001}
    assert (document["to"]["vmid"], document["changed"], document["mapping"]) == (1002, True, "gpu0")


def test_nobody_to_ask(two: CardPlace, run: Run) -> None:
    ended = run("gpu", "move", "gpu0", "--to", "b", "--node", "pve1")
    assert ended.code == 2
    assert two.power(1001) == "running"


def test_a_vm_that_is_not_ours_takes_consent(two: CardPlace, run: Run) -> None:
    ended = run("gpu", "move", "gpu0", "--to", "gaming", "--node", "pve1", "--yes")
    assert ended.code == 3
    assert "VM 100 (gaming) is not ours" in ended.err
    assert two.power(1001) == "running"
    ended = run("gpu", "move", "gpu0", "--to", "gaming", "--node", "pve1", "--yes", "--foreign")
    assert ended.code == 0
    assert two.power(100) == "running"


def test_rights_that_lack_are_named(two: CardPlace, run: Run, environment: dict[str, str]) -> None:
    small = two.token_without().connection
    environment |= {
        "PROXMOX_USER": small.token.user,
        "PROXMOX_TOKEN_ID": small.token.name,
        "PROXMOX_TOKEN_SECRET": small.token.secret,
    }
    from localai_deploy.sandbox.state import AclEntry

    two.cluster.roles["Look"] = frozenset({"VM.Audit"})
    two.cluster.acl.append(AclEntry("/vms/100", "user", "small@pve", "Look"))
    ended = run("gpu", "move", "gpu0", "--to", "gaming", "--node", "pve1", "--yes", "--foreign")
    assert ended.code == 3
    assert "missing: VM.PowerMgmt on /vms/100" in ended.err
    assert "pveum acl modify /vms/100 --roles LocalaiCardVms100 --users small@pve" in ended.err
    assert two.power(1001) == "running"


def test_a_card_without_a_mapping_gets_one(two: CardPlace, run: Run) -> None:
    ended = run("gpu", "move", "02:00", "--to", "b", "--node", "pve1", "--yes")
    assert ended.code == 6, "b has the card that a runs with, too"
    assert "the card of mapping gpu0 on node pve1 is held by VM 1001 (a)" in ended.err
    assert "hostpci1" not in two.cluster.vms[1002].config
    two.cluster.vms[1001].body.stop()
    ended = run("gpu", "move", "02:00", "--to", "b", "--node", "pve1", "--yes")
    assert ended.code == 0, ended
    assert two.cluster.mappings["localai-pve1-0000-02-00"].map == [
        "node=pve1,path=0000:02:00,id=10de:2204,iommugroup=15,subsystem-id=1043:889c"
    ]
    assert two.cluster.vms[1002].config["hostpci1"] == "mapping=localai-pve1-0000-02-00,pcie=1"


@pytest.mark.parametrize("what", ["gpu0", "a", "1001"])
def test_a_release(two: CardPlace, run: Run, what: str) -> None:
    document = run("gpu", "release", what, "--node", "pve1", "--yes", "-o", "json").data
    assert problems(document) == []
    assert document["freed"] == [
        {
            "card": "0000:01:00",
            "mappings": ["both", "gpu0"],
            "before": {"vm": "a", "vmid": 1001, "ours": True},
        }
    ]
    assert two.power(1001) == "stopped"
    block = find_block(two.cluster.vms[1001].config["description"])
    assert block is not None
    assert block.noted == NotedCards(gave=("gpu0",))
    assert two.cluster.mappings["gpu0"].description == "the left slot"
    ended = run("gpu", "release", what, "--node", "pve1")
    assert (ended.code, ended.out) == (0, "nobody has it: nothing was done\n")


def test_a_release_of_a_dead_holders_lease(two: CardPlace, run: Run) -> None:
    del two.cluster.vms[1001]
    assert run("gpu", "release", "gpu0", "--node", "pve1", "--yes").code == 0
    assert two.cluster.mappings["gpu0"].description == "the left slot"


HOSTS = """
inference:
  children:
    proxmox_vms:
      vars:
        localai_node: pve1
      hosts:
        a:
          localai_gpu: {a}
        b:
          localai_gpu: {b}
        c: {{}}
"""


def inventory(directory: Path, *, a: str, b: str) -> str:
    file = directory / "hosts.yml"
    file.write_text(HOSTS.format(a=a, b=b))
    return str(file)


@pytest.mark.parametrize(
    ("a", "b", "told"),
    [
        ("none", "gpu0", []),
        ("auto", "auto", []),
        ("'02:00'", "[gpu0, '02:00']", []),
        (
            "RTX 4090",
            "none",
            [
                "hosts.yml:9 still gives a the card (localai_gpu: RTX 4090): take it out there, or the next "
                "`up a` asks for it again",
                "hosts.yml:11 gives b other cards (localai_gpu: none): add gpu0 there, or the next `up b` "
                "takes the card out again",
            ],
        ),
    ],
)
def test_lines_of_the_inventory_that_say_otherwise_are_named(
    two: CardPlace, run: Run, tmp_path: Path, a: str, b: str, told: list[str]
) -> None:
    place = ("--node", "pve1", "-i", inventory(tmp_path, a=a, b=b))
    moved = run("gpu", "move", "gpu0", "--to", "b", *place, "--yes", "-o", "json").data
    assert problems(moved) == []
    assert moved["notes"][1:] == told
    back = run("gpu", "move", "gpu0", "--to", "a", *place, "--yes")
    assert back.code == 0
    released = run("gpu", "release", "gpu0", *place, "--yes", "-o", "json").data
    assert problems(released) == []
    assert released["notes"] == told[:1]


def test_a_broken_inventory_hinders_no_move(two: CardPlace, run: Run, tmp_path: Path) -> None:
    place = ("--node", "pve1", "-i", inventory(tmp_path, a="none", b="[3]"))
    ended = run("gpu", "move", "gpu0", "--to", "b", *place, "--yes")
    assert ended.code == 0
    assert "! the inventory is not looked at: " in ended.err


@pytest.mark.parametrize(
    ("words", "code", "error_id"),
    [
        (("move", "nothing", "--to", "b"), 3, "gpu-unknown"),
        (("move", "both", "--to", "b"), 3, "gpu-ambiguous"),
        (("move", "gpu0", "--to", "nobody"), 3, "vm-unknown"),
        (("move", "none", "--to", "b"), 2, "gpu-unknown"),
        (("release", "nothing"), 3, "gpu-unknown"),
    ],
)
def test_what_is_refused(two: CardPlace, run: Run, words: tuple[str, ...], code: int, error_id: str) -> None:
    ended = run("gpu", *words, "--node", "pve1", "--yes", "-o", "json")
    assert ended.code == code
    assert error_id in ended.out + ended.err


def test_several_nodes_and_none_named(two: CardPlace, run: Run) -> None:
    ended = run("gpu", "move", "gpu0", "--to", "b", "--yes")
    assert ended.code == 2
    assert "several nodes: pve1, pve2" in ended.err


@pytest.mark.parametrize("text", ["RTX 3090", "rtx3090", "10de:2204"])
def test_info_by_name(run: Run, text: str) -> None:
    assert run("gpu", "info", text).out.startswith("NVIDIA GeForce RTX 3090  10de:2204\n")


def test_info_of_an_unknown_name(run: Run) -> None:
    ended = run("gpu", "info", "RTX 3091", "-o", "json")
    assert ended.code == 2
    assert "gpu-name-unknown" in ended.out + ended.err
