from __future__ import annotations

import pytest

from localai_deploy.domain.pve import property_string
from localai_deploy.domain.pve.credentials import from_environment, parse_fingerprint, parse_token
from localai_deploy.domain.pve.network import NetworkDevice, guest_address, parse_network_device
from localai_deploy.domain.pve.upid import parse_upid
from localai_deploy.domain.pve.version import PveVersion, parse_version
from localai_deploy.errors import InputError, LocalaiError

UPID = "UPID:pve1:0000A1B2:0012D687:65F0C1A2:qmcreate:100:tool@pve!prov:"


def test_upid_both_ways() -> None:
    upid = parse_upid(UPID)
    assert (upid.node, upid.pid, upid.type, upid.id, upid.user) == (
        "pve1",
        0xA1B2,
        "qmcreate",
        "100",
        "tool@pve!prov",
    )
    assert str(upid) == UPID


@pytest.mark.parametrize("text", ["", "OK", "UPID:pve1", "UPID:x", UPID[:-1], UPID + "x"])
def test_no_upid(text: str) -> None:
    with pytest.raises(LocalaiError, match="no task id"):
        parse_upid(text)


def test_property_string_both_ways() -> None:
    values = property_string.parse("local-lvm:vm-100-disk-0,size=32G,ssd=1", "file")
    assert values == {"file": "local-lvm:vm-100-disk-0", "size": "32G", "ssd": "1"}
    assert property_string.render(values, "file") == "local-lvm:vm-100-disk-0,size=32G,ssd=1"


def test_booleans_become_numbers_and_none_is_left_out() -> None:
    assert property_string.render({"enabled": True, "type": None, "x": False}, "enabled") == "1,x=0"


@pytest.mark.parametrize("text", ["", "a=1,a=2", "a,b"])
def test_unreadable_property_string(text: str) -> None:
    with pytest.raises(LocalaiError):
        property_string.parse(text, "first")


def test_comma_cannot_be_smuggled_in() -> None:
    with pytest.raises(ValueError, match="property string"):
        property_string.render({"description": "a,b=1"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [("9.2.11", (9, 2, 11)), ("8.4.21", (8, 4, 21)), ("9.0", (9, 0, 0))],
)
def test_versions(text: str, expected: tuple[int, int, int]) -> None:
    assert parse_version(text) == PveVersion(*expected)


def test_pve_7_is_refused() -> None:
    with pytest.raises(LocalaiError) as caught:
        parse_version("7.4-20")
    assert caught.value.error_id == "pve-version-unsupported"


def test_what_versions_can_do() -> None:
    assert PveVersion(8, 4).has_import_content
    assert not PveVersion(8, 3).has_import_content
    assert PveVersion(8, 4).agent_privileges == ("VM.Monitor",)
    assert "VM.Monitor" not in PveVersion(9, 0).agent_privileges


@pytest.mark.parametrize(
    ("text", "device"),
    [
        (
            "virtio=BC:24:11:00:AA:01,bridge=vmbr0",
            NetworkDevice("vmbr0", "BC:24:11:00:AA:01"),
        ),
        ("virtio,bridge=vmbr1,tag=5", NetworkDevice("vmbr1", vlan=5)),
        (
            "e1000=BC:24:11:00:AA:02,bridge=vmbr0,firewall=1",
            NetworkDevice("vmbr0", "BC:24:11:00:AA:02", "e1000", firewall=True),
        ),
    ],
)
def test_network_device_both_ways(text: str, device: NetworkDevice) -> None:
    assert parse_network_device(text) == device
    assert parse_network_device(str(device)) == device


LO = {
    "name": "lo",
    "hardware-address": "00:00:00:00:00:00",
    "ip-addresses": [{"ip-address": "127.0.0.1", "ip-address-type": "ipv4", "prefix": 8}],
}


def card(*addresses: str, mac: str = "bc:24:11:00:aa:01") -> dict[str, object]:
    return {"name": "eth0", "hardware-address": mac, "ip-addresses": [{"ip-address": a} for a in addresses]}


@pytest.mark.parametrize(
    ("interfaces", "expected"),
    [
        ([LO], ""),
        ([LO, {"name": "eth0", "hardware-address": "bc:24:11:00:aa:01"}], ""),
        ([LO, card("fe80::1")], ""),
        ([LO, card("fe80::1", "169.254.3.4")], ""),
        ([LO, card("2001:db8::5", "192.0.2.7")], "192.0.2.7"),
        ([LO, card("2001:db8::5")], "2001:db8::5"),
        ([card("172.17.0.1", mac="02:42:00:00:00:01"), card("192.0.2.7")], "192.0.2.7"),
    ],
)
def test_guest_address(interfaces: list[dict[str, object]], expected: str) -> None:
    assert guest_address(interfaces, "BC:24:11:00:AA:01") == expected


def test_token_in_both_spellings() -> None:
    assert parse_token("tool@pve", "prov", "s") == parse_token("", "tool@pve!prov", "s")
    assert "hidden" not in repr(parse_token("tool@pve", "prov", "hidden"))


@pytest.mark.parametrize(
    ("user", "token", "secret"), [("tool", "prov", "s"), ("tool@pve", "", "s"), ("tool@pve", "prov", "")]
)
def test_incomplete_token(user: str, token: str, secret: str) -> None:
    with pytest.raises(InputError):
        parse_token(user, token, secret)


def test_fingerprints() -> None:
    assert parse_fingerprint("AB:" * 31 + "CD") == "ab" * 31 + "cd"
    assert parse_fingerprint("") == ""
    with pytest.raises(InputError):
        parse_fingerprint("AB:CD")


def test_environment_needs_a_host() -> None:
    with pytest.raises(InputError) as caught:
        from_environment({}, "pve1")
    assert caught.value.error_id == "pve-host-missing"
