"""The privilege engine: inheritance, overrides, groups, pools, tokens."""

from __future__ import annotations

import pytest

from localai_deploy.sandbox.answers import ApiError
from localai_deploy.sandbox.auth import Identity
from localai_deploy.sandbox.permissions import Permissions, is_known_path, normal_path
from localai_deploy.sandbox.server import new_cluster
from localai_deploy.sandbox.state import AclEntry, Cluster, Pool, Token, User

ANN, TOKEN, SEPARATE = "ann@pve", "ann@pve!t", "ann@pve!s"


@pytest.fixture
def cluster() -> Cluster:
    cluster = new_cluster()
    cluster.users[ANN] = User(ANN, tokens={"t": Token("x", privsep=0), "s": Token("y", privsep=1)})
    cluster.groups["team"] = {ANN}
    cluster.roles["Look"] = frozenset({"VM.Audit"})
    cluster.roles["Run"] = frozenset({"VM.PowerMgmt"})
    return cluster


def held(cluster: Cluster, name: str, path: str) -> set[str]:
    return set(Permissions(cluster).of(name, path))


def test_nothing_without_rules(cluster: Cluster) -> None:
    assert held(cluster, ANN, "/vms/100") == set()
    assert Permissions(cluster).effective(ANN) == {}


def test_rules_are_inherited_when_they_propagate(cluster: Cluster) -> None:
    cluster.acl = [AclEntry("/vms", "user", ANN, "Look", 1), AclEntry("/", "user", ANN, "Run", 0)]
    assert held(cluster, ANN, "/vms/100") == {"VM.Audit"}
    assert held(cluster, ANN, "/") == {"VM.PowerMgmt"}
    assert held(cluster, ANN, "/nodes") == set()


def test_deeper_rules_replace_higher_ones(cluster: Cluster) -> None:
    cluster.acl = [AclEntry("/vms", "user", ANN, "Look"), AclEntry("/vms/100", "user", ANN, "Run")]
    assert held(cluster, ANN, "/vms/100") == {"VM.PowerMgmt"}
    assert held(cluster, ANN, "/vms/101") == {"VM.Audit"}


def test_a_users_own_rule_hides_the_groups_at_the_same_path(cluster: Cluster) -> None:
    cluster.acl = [AclEntry("/vms", "group", "team", "Run")]
    assert held(cluster, ANN, "/vms/100") == {"VM.PowerMgmt"}
    cluster.acl.append(AclEntry("/vms", "user", ANN, "Look"))
    assert held(cluster, ANN, "/vms/100") == {"VM.Audit"}


def test_no_access_wins(cluster: Cluster) -> None:
    cluster.acl = [AclEntry("/vms", "user", ANN, "Look"), AclEntry("/vms/100", "user", ANN, "NoAccess")]
    assert held(cluster, ANN, "/vms/100") == set()


def test_pools_give_their_members_their_rights(cluster: Cluster) -> None:
    cluster.pools["localai"] = Pool("localai", vms={100}, storages={"local"})
    cluster.acl = [AclEntry("/pool/localai", "user", ANN, "Look")]
    assert held(cluster, ANN, "/vms/100") == {"VM.Audit"}
    assert held(cluster, ANN, "/vms/101") == set()
    assert "/vms/100" in Permissions(cluster).effective(ANN)


def test_tokens(cluster: Cluster) -> None:
    cluster.acl = [AclEntry("/vms", "user", ANN, "Look")]
    assert held(cluster, TOKEN, "/vms/100") == {"VM.Audit"}
    assert held(cluster, SEPARATE, "/vms/100") == set()
    cluster.roles["Both"] = cluster.roles["Look"] | cluster.roles["Run"]
    cluster.acl.append(AclEntry("/vms", "token", SEPARATE, "Both"))
    assert held(cluster, SEPARATE, "/vms/100") == {"VM.Audit"}


def test_roots_tokens(cluster: Cluster) -> None:
    root = cluster.users["root@pam"]
    root.tokens = {"all": Token("x", privsep=0), "own": Token("y", privsep=1)}
    assert held(cluster, "root@pam!all", "/") == cluster.release.privileges
    assert held(cluster, "root@pam!own", "/") == set()
    assert not Identity("root@pam!all").is_root


def test_refusals_name_path_and_privilege(cluster: Cluster) -> None:
    engine, ann = Permissions(cluster), Identity(ANN)
    with pytest.raises(ApiError, match=r"Permission check failed \(/vms/1, VM.Audit\)"):
        engine.need(ann, "/vms/1", "VM.Audit", "VM.PowerMgmt")
    with pytest.raises(ApiError, match=r"\(/vms/1, VM.Audit\|VM.PowerMgmt\)"):
        engine.need_any(ann, "/vms/1", "VM.Audit", "VM.PowerMgmt")
    with pytest.raises(ApiError, match=r"\(, Sys.Audit\)"):
        engine.need(Identity("root@pam"), "/nodes/bad!", "Sys.Audit")


@pytest.mark.parametrize(
    ("path", "known"),
    [
        ("/", True),
        ("/vms/100", True),
        ("/mapping/pci/gpu0", True),
        ("/pool/localai", True),
        ("/nosuch", False),
    ],
)
def test_known_paths(path: str, known: bool) -> None:
    assert is_known_path(path, 9) is known
    assert normal_path(path + "/") == path
