from __future__ import annotations

from dataclasses import replace

import pytest

from localai_deploy.domain.pve.ownership import OwnershipBlock, begun_block, find_block, owned_block
from localai_deploy.domain.pve.permissions import Need, missing_needs, needs_of
from localai_deploy.domain.pve.seed import Seed, StaticAddress, check_public_keys
from localai_deploy.domain.pve.version import PveVersion
from localai_deploy.domain.pve.vm import (
    Acceleration,
    Creation,
    VmSpec,
    candidate_ids,
    creation,
    differences,
    disk_size_gib,
    new_identity,
)
from localai_deploy.errors import InputError

SPEC = VmSpec(
    name="ai1", node="pve1", vlan=5, vm_storage="local-lvm", image_storage="local", seed_storage="local"
)
IDENTITY = new_identity("a random text")
BLOCK = OwnershipBlock("ai1", 120, IDENTITY.uuid, SPEC.record())


def parameters(*, has_kvm: bool = True) -> dict[str, object]:
    call = creation(
        SPEC,
        120,
        IDENTITY,
        image="local:import/debian-13.qcow2",
        seed="local:iso/seed.iso",
        acceleration=Acceleration(has_kvm=has_kvm),
    )
    assert call.path == "qemu"
    return {**call.sent, **call.config}


def block_of(call: Creation) -> OwnershipBlock:
    found = find_block(call.config["description"])
    assert found is not None
    return found


def test_identity_is_the_same_for_the_same_seed_only() -> None:
    assert new_identity("a random text") == IDENTITY
    assert new_identity("another").uuid != IDENTITY.uuid
    assert IDENTITY.mac.startswith("BC:24:11:")
    assert len(IDENTITY.mac) == 17


def test_create_parameters_are_what_an_expert_would_choose() -> None:
    sent = parameters()
    assert sent["machine"] == "q35"
    assert sent["bios"] == "ovmf"
    assert sent["efidisk0"] == "local-lvm:0,efitype=4m,pre-enrolled-keys=0"
    assert sent["balloon"] == 0
    assert sent["cpu"] == "host"
    assert sent["scsihw"] == "virtio-scsi-single"
    assert sent["scsi0"] == "local-lvm:0,import-from=local:import/debian-13.qcow2,discard=on,iothread=1"
    assert sent["scsi1"] == "local:iso/seed.iso,media=cdrom"
    assert sent["net0"] == f"virtio={IDENTITY.mac},bridge=vmbr0,tag=5"
    assert sent["serial0"] == "socket"
    assert sent["agent"] == "1,fstrim_cloned_disks=1"
    assert sent["onboot"] == 1
    assert "start" not in sent


def test_a_node_without_kvm_gets_a_guest_that_starts_there() -> None:
    assert parameters(has_kvm=False) == parameters() | {"cpu": "max", "kvm": 0}


def test_a_template_is_cloned_and_then_made_the_same_vm() -> None:
    call = creation(
        replace(SPEC, template=9000),
        120,
        IDENTITY,
        image="",
        seed="local:iso/s.iso",
        acceleration=Acceleration(),
    )
    assert call.path == "qemu/9000/clone"
    assert dict(call.sent) == {
        "newid": 120,
        "name": "ai1",
        "pool": "localai",
        "full": 1,
        "storage": "local-lvm",
        "description": call.sent["description"],
    }
    assert begun_block(120, call.sent, "localai") == replace(block_of(call), begun=True)
    assert "scsi0" not in call.config
    assert call.config["smbios1"] == f"uuid={IDENTITY.uuid}"


def test_ids_follow_from_the_name() -> None:
    ids = list(candidate_ids(SPEC))
    assert ids == list(candidate_ids(SPEC))
    assert len(set(ids)) == 16
    assert all(1000 <= vmid < 10_000 for vmid in ids)
    assert ids != list(candidate_ids(replace(SPEC, name="ai2")))
    assert list(candidate_ids(replace(SPEC, vmid=120))) == [120]


def test_no_boolean_is_sent() -> None:
    assert not [key for key, value in parameters().items() if isinstance(value, bool)]


def test_until_it_has_its_tag_a_vm_is_only_begun() -> None:
    call = creation(
        SPEC, 120, IDENTITY, image="local:import/i", seed="local:iso/s", acceleration=Acceleration()
    )
    assert "tags" not in call.sent
    assert owned_block(120, call.sent, "localai") is None
    assert begun_block(120, call.sent, "localai") == replace(BLOCK, begun=True)
    read_back = dict(call.sent) | {"scsi1": "local:iso/s,media=cdrom,size=366K"}
    assert call.missing(read_back) == {"tags": "localai", "description": BLOCK.render()}
    assert owned_block(120, {**read_back, **call.missing(read_back)}, "localai") == BLOCK


def test_created_vm_is_ours() -> None:
    assert owned_block(120, parameters(), "localai") == BLOCK


def test_differences_are_named() -> None:
    sent = parameters()
    read_back = dict(sent) | {"memory": "8192", "cores": 2}
    assert differences(sent, read_back) == {"cores": ("4", "2")}


@pytest.mark.parametrize(
    ("volume", "size"),
    [
        ("local:100/vm-100-disk-1.qcow2,discard=on,iothread=1,size=3G", 3),
        ("local-lvm:vm-1-disk-0,size=2252M", 2),
        ("local-lvm:vm-1-disk-0,size=1T", 1024),
        ("local-lvm:vm-1-disk-0,size=528K", 0),
        ("local-lvm:vm-1-disk-0", 0),
    ],
)
def test_disk_size(volume: str, size: int) -> None:
    assert disk_size_gib(volume) == size


@pytest.mark.parametrize("name", ["", "AI", "a b", "-a", "a-", "a.b", "ä", "x" * 64, "a;b"])
def test_bad_names(name: str) -> None:
    with pytest.raises(InputError):
        VmSpec(name=name, node="pve1")


def test_seed_has_no_secret_and_installs_the_agent() -> None:
    seed = Seed(IDENTITY.uuid, "ai1", "admin", IDENTITY.mac, ("ssh-ed25519 AAAA me",))
    documents = seed.documents()
    assert documents["meta-data"] == {"instance-id": IDENTITY.uuid, "local-hostname": "ai1"}
    user_data = documents["user-data"]
    assert user_data["packages"] == ["qemu-guest-agent"]
    assert user_data["ssh_pwauth"] is False
    assert user_data["users"][0]["lock_passwd"] is True
    assert "passw" not in str(documents).replace("lock_passwd", "").replace("NOPASSWD", "")
    network = documents["network-config"]
    assert network["ethernets"]["uplink"] == {
        "match": {"macaddress": IDENTITY.mac.lower()},
        "dhcp4": True,
    }


def test_static_address() -> None:
    static = StaticAddress("192.0.2.7/24", "192.0.2.1", ("192.0.2.53",))
    seed = Seed(IDENTITY.uuid, "ai1", "admin", IDENTITY.mac, ("ssh-ed25519 AAAA me",), static=static)
    assert seed.documents()["network-config"]["ethernets"]["uplink"] == {
        "match": {"macaddress": IDENTITY.mac.lower()},
        "addresses": ["192.0.2.7/24"],
        "routes": [{"to": "default", "via": "192.0.2.1"}],
        "nameservers": {"addresses": ["192.0.2.53"]},
    }


@pytest.mark.parametrize(
    ("address", "gateway", "servers"),
    [
        ("192.0.2.7", "", ()),
        ("192.0.2/24", "", ()),
        ("192.0.2.7/24", "198.51.100.1", ()),
        ("192.0.2.7/24", "192.0.2.1", ("dns",)),
    ],
)
def test_bad_static_addresses(address: str, gateway: str, servers: tuple[str, ...]) -> None:
    with pytest.raises(InputError):
        StaticAddress(address, gateway, servers)


@pytest.mark.parametrize(
    "keys", [[], ["-----BEGIN OPENSSH PRIVATE KEY-----"], ["hello"], ["ssh-ed25519 A\nssh-rsa B"]]
)
def test_bad_public_keys(keys: list[str]) -> None:
    with pytest.raises(InputError):
        check_public_keys(keys)


TOOL_ON_9 = {
    "/pool/localai": dict.fromkeys(
        (
            *("VM.Allocate", "VM.Audit", "VM.PowerMgmt", "VM.Config.CDROM", "VM.Config.CPU"),
            *("VM.Config.Disk", "VM.Config.HWType", "VM.Config.Memory", "VM.Config.Network"),
            *("VM.Config.Options", "VM.GuestAgent.Audit", "VM.GuestAgent.FileRead", "Pool.Audit"),
        ),
        1,
    ),
    "/storage/local-lvm": {"Datastore.AllocateSpace": 1},
    "/storage/local": {"Datastore.Audit": 1, "Datastore.AllocateTemplate": 1},
    "/nodes/pve1": {"Sys.AccessNetwork": 1, "Sys.Audit": 1},
    "/sdn/zones/localnetwork": {"SDN.Use": 1},
}


def test_enough_rights() -> None:
    needs = needs_of(SPEC, PveVersion(9, 2), downloads_image=True)
    assert missing_needs(needs, TOOL_ON_9) == ()


@pytest.mark.parametrize("need", needs_of(SPEC, PveVersion(9, 2), downloads_image=True), ids=str)
def test_each_missing_privilege_is_named(need: Need) -> None:
    path = need.path if need.path in TOOL_ON_9 else "/sdn/zones/localnetwork"
    reduced = {p: dict(privileges) for p, privileges in TOOL_ON_9.items()}
    del reduced[path][need.privilege]
    assert missing_needs(needs_of(SPEC, PveVersion(9, 2), downloads_image=True), reduced) == (need,)


def test_unpropagated_right_does_not_reach_below() -> None:
    need = Need("/nodes/pve1", "Sys.Audit")
    assert missing_needs([need], {"/": {"Sys.Audit": 0}}) == (need,)
    assert missing_needs([need], {"/": {"Sys.Audit": 1}}) == ()


def test_version_8_asks_for_its_own_privileges() -> None:
    privileges = {need.privilege for need in needs_of(SPEC, PveVersion(8, 4), downloads_image=False)}
    assert "VM.Monitor" in privileges
    assert not {name for name in privileges if name.startswith("VM.GuestAgent")}
    assert "Sys.AccessNetwork" not in privileges


def test_no_token_rights_at_all() -> None:
    needs = needs_of(SPEC, PveVersion(9, 2), downloads_image=True)
    assert missing_needs(needs, {}) == needs
