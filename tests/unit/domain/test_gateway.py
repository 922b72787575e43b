from __future__ import annotations

import pytest

from localai_deploy.domain.facts import HostFacts, UnitFact
from localai_deploy.domain.gateway import Gateway, Replica, gateway_host, gateway_of, out_of_reach
from localai_deploy.domain.plan import StepKind
from localai_deploy.domain.planning import make_removal
from localai_deploy.domain.remains import anything_of_ours
from localai_deploy.domain.settings import Sourced, resolve_settings
from localai_deploy.errors import InputError

MODEL = "hf:ORG/REPO/small-q4.gguf"


def settings(**given: object) -> dict[str, Sourced]:
    return resolve_settings([{f"localai_{name}": Sourced(value, "test") for name, value in given.items()}])


def test_a_gateway_knows_every_host() -> None:
    own = settings(models=[MODEL], api_gateway_port=4001)
    gateway = gateway_of(own, {"nas": own, "den": settings(models=[MODEL], bind="fd00::7", port=9000)})
    assert [one.name for one in gateway.replicas] == ["nas", "den"]
    assert [one.url for one in gateway.replicas] == ["http://127.0.0.1:8080", "http://[fd00::7]:9000"]
    assert (gateway.endpoint, gateway.models) == ("http://127.0.0.1:4001", ("small-q4",))
    assert Gateway.from_record(gateway.record()) == gateway


@pytest.mark.parametrize("models", [[], ["hf:ORG/REPO"]])
def test_a_model_that_is_left_open_is_refused(models: list[str]) -> None:
    own = settings(models=[MODEL])
    with pytest.raises(InputError, match="den serves is left open") as caught:
        gateway_of(own, {"nas": own, "den": settings(models=models)})
    assert caught.value.error_id == "gateway-model-open"


@pytest.mark.parametrize(
    ("address", "reached"),
    [("127.0.0.1", False), ("::1", False), ("0.0.0.0", False), ("::", False), ("192.0.2.7", True)],
)
def test_another_host_must_listen_where_the_gateway_reaches_it(address: str, *, reached: bool) -> None:
    gateway = Gateway("127.0.0.1", 4000, (), (Replica("den", address, 8080, "m"),))
    assert (list(out_of_reach(gateway, "nas")) == []) is reached


def test_its_own_host_may_listen_on_loopback() -> None:
    gateway = Gateway("127.0.0.1", 4000, (), (Replica("nas", "127.0.0.1", 8080, "m"),))
    assert list(out_of_reach(gateway, "nas")) == []


@pytest.mark.parametrize(
    ("gateways", "error_id"), [(["nas", "den"], "gateway-several"), (["printer"], "gateway-not-inference")]
)
def test_group_gateway_has_one_host_that_serves(gateways: list[str], error_id: str) -> None:
    with pytest.raises(InputError) as caught:
        gateway_host(gateways, ["nas", "den"], "home")
    assert caught.value.error_id == error_id
    assert gateway_host(["den"], ["nas", "den"], "home") == "den"


def test_networks_are_checked() -> None:
    given = settings(clients=["192.0.2.7", "192.0.2.0/24", "fd00::/64"])["localai_clients"].value
    assert given == ("192.0.2.7", "192.0.2.0/24", "fd00::/64")
    assert settings(clients="192.0.2.7")["localai_clients"].value == ("192.0.2.7",)
    for wrong in ("192.0.2.7/24", "nas", 7, ["192.0.2.7", 7]):
        with pytest.raises(InputError):
            settings(clients=wrong)


def facts(gateway: UnitFact | None) -> HostFacts:
    return HostFacts(
        hostname="nas",
        os_id="debian",
        os_version="13",
        os_pretty_name="Debian",
        architecture="x86_64",
        kernel="6",
        virtualization="none",
        systemd_version=257,
        systemd_running=True,
        python_version="3.13",
        is_root=True,
        memory_bytes=1,
        cpu_count=1,
        gateway=gateway,
    )


def test_a_gateway_that_was_left_is_taken_away_first() -> None:
    left = facts(UnitFact(load_state="loaded", active_state="failed"))
    assert anything_of_ours(left, models_too=False)
    assert make_removal("nas", left, purge=False).steps[0].kind is StepKind.GATEWAY
    assert not make_removal("nas", facts(None), purge=False).steps
    assert HostFacts.from_data(left.to_data()) == left
    assert "gateway" not in facts(None).to_data()
