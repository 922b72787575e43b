"""Look at nodes and hosts and tell what would block a deployment there; nothing is changed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from localai_deploy.domain.node.findings import node_findings, passthrough_findings
from localai_deploy.domain.node.hardware import Function, NodeHardware
from localai_deploy.domain.node.outlook import CardOutlook
from localai_deploy.domain.plan import Finding, Severity
from localai_deploy.domain.preflight import preflight
from localai_deploy.domain.pve.credentials import NodeConnection
from localai_deploy.domain.pve.facts import NodeFacts
from localai_deploy.domain.pve.hardware import CardOnNode
from localai_deploy.errors import LocalaiError
from localai_deploy.inventory.node_ssh import NodeSsh
from localai_deploy.inventory.specs import InventoryHost
from localai_deploy.targets.node import seen_over_ssh
from localai_deploy.workflow.deploy import open_targets
from localai_deploy.workflow.telling import Say
from localai_deploy.workflow.together import ask_all, findings_with_place


@dataclass(frozen=True, slots=True)
class CardReport:
    """One card with all that speaks against passing it through.

    :param functions: as the node's kernel shows them; empty when nobody looked.
    """

    card: CardOnNode
    functions: tuple[Function, ...]
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class NodeReport:
    """A node; ``hardware`` is ``None`` when nobody could look at the node itself."""

    node: str
    version: str
    hardware: NodeHardware | None
    cards: tuple[CardReport, ...]
    findings: tuple[Finding, ...]

    @property
    def all_findings(self) -> tuple[Finding, ...]:
        """Those of the node, then those of its cards."""
        return (*self.findings, *(found for card in self.cards for found in card.findings))


@dataclass(frozen=True, slots=True)
class HostReport:
    """A host; one that cannot be looked at has that as its only finding."""

    host: str
    system: str
    findings: tuple[Finding, ...]


def has_blocker(findings: Sequence[Finding]) -> bool:
    """Whether a deployment would be refused."""
    return any(one.severity is Severity.BLOCKER for one in findings)


def examine_node(connection: NodeConnection, ssh: NodeSsh | None, say: Say) -> NodeReport:
    """Ask the node's API, and with ``ssh`` the node itself.

    :raises LocalaiError: ``pve-*``, ``tls-*``: the API cannot be asked.
    """
    from localai_deploy.proxmox.card_survey import survey_cards
    from localai_deploy.proxmox.client import PveClient
    from localai_deploy.proxmox.survey import survey_node

    client = PveClient(connection, on_retry=say)
    facts = survey_cards(client, survey_node(client))
    hardware, trouble = seen_over_ssh(ssh.connection if ssh else None)
    cards = tuple(_card_report(card, facts, hardware) for card in facts.cards)
    findings = (*trouble, *_unlisted(facts), *node_findings(hardware))
    return NodeReport(client.node, str(facts.version), hardware, cards, findings)


def _unlisted(facts: NodeFacts) -> tuple[Finding, ...]:
    if facts.devices is not None:
        return ()
    return (
        Finding(
            "pve-token-no-rights",
            Severity.UNKNOWN,
            f"which cards node {facts.node} has",
            "this token may not list its hardware (Sys.Audit on /)",
            f"localai-deploy node permissions {facts.node}",
        ),
    )


def _card_report(card: CardOnNode, facts: NodeFacts, hardware: NodeHardware | None) -> CardReport:
    mapping = next((one for one in facts.world.mappings if one.is_of(card)), None)
    entries = mapping.entries_on(facts.node) if mapping else ()
    users = facts.world.users_of(facts.node, [card.slot])
    outlook = CardOutlook(
        card,
        devices=facts.devices or (),
        hardware=hardware,
        users=tuple(one for one in users if not one.ours),
        mapping=entries[0] if entries else None,
        memory_available_bytes=facts.memory_available_bytes,
    )
    findings = passthrough_findings(outlook)
    if any(one.is_boot_display for one in outlook.functions) and len(facts.cards) > 1:
        findings = tuple(_as_warning(one) for one in findings)
    return CardReport(card, outlook.functions, findings)


def _as_warning(finding: Finding) -> Finding:
    """A display that the node shows its console on may stay with it, where it has another card."""
    if finding.severity is not Severity.BLOCKER:
        return finding
    return replace(finding, severity=Severity.WARNING)


def examine_hosts(hosts: Sequence[InventoryHost], say: Say, forks: int) -> list[HostReport]:
    """Look at each host over its own connection; a VM that is not there yet cannot be looked at."""
    with ExitStack() as stack:
        targets = open_targets(hosts, stack, say)

        def examine(host: InventoryHost) -> HostReport:
            facts = targets[host.name].observe()
            findings = findings_with_place(host, preflight(host.spec(), facts))
            return HostReport(host.name, facts.os_pretty_name, findings)

        answers = ask_all(hosts, examine, forks)
    return [one.value or _unseen(one.host.name, one.error) for one in answers]


def _unseen(host: str, error: LocalaiError | None) -> HostReport:
    return HostReport(host, "", (Finding.from_error(error),) if error else ())
