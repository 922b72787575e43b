"""Reports of nodes and hosts as text and as data."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import click

from localai_deploy.cli.plan_text import finding_lines
from localai_deploy.cli.terminal import show, width_of
from localai_deploy.domain.node.hardware import NodeHardware
from localai_deploy.domain.plan import Finding, Severity, finding_data
from localai_deploy.workflow.doctor import CardReport, HostReport, NodeReport


def print_node(report: NodeReport) -> None:
    """A node with its cards."""
    width = width_of(sys.stdout)
    show(click.style(f"Node {report.node}", bold=True) + f"  ({_node_line(report)})")
    _print_findings(report.findings, width)
    for card in report.cards:
        show(f"  {click.style(card.card.name, bold=True)}  {_card_line(card)}")
        _print_findings(card.findings, width)
    if not report.cards:
        show("  no card was seen")
    show(_verdict(report.all_findings))


def print_host(report: HostReport) -> None:
    """A host."""
    system = f"  ({report.system})" if report.system else ""
    show(click.style(f"Host {report.host}", bold=True) + system)
    _print_findings(report.findings, width_of(sys.stdout))
    show(_verdict(report.findings))


def _node_line(report: NodeReport) -> str:
    parts = [f"Proxmox VE {report.version}"]
    if report.hardware:
        parts += [f"kernel {report.hardware.kernel}", f"booted by {report.hardware.loader}"]
    else:
        parts.append("looked at through its API only")
    return ", ".join(parts)


def _card_line(card: CardReport) -> str:
    group = card.card.iommu_group
    parts = [card.card.slot, card.card.pci_id, "no IOMMU group" if group is None else f"IOMMU group {group}"]
    drivers = sorted({one.driver or "no driver" for one in card.functions})
    return "  ".join([*parts, *drivers])


def _print_findings(findings: Sequence[Finding], width: int) -> None:
    for finding in findings:
        for line in finding_lines(finding, width):
            show(f"  {line}")


def _verdict(findings: Sequence[Finding]) -> str:
    counted = ", ".join(_counts(findings))
    if any(one.severity is Severity.BLOCKER for one in findings):
        return f"  {click.style('would block', fg='red')}: {counted}"
    return f"  {click.style('fine', fg='green')}{f': {counted}' if counted else ''}"


def _counts(findings: Sequence[Finding]) -> Iterator[str]:
    names = {Severity.BLOCKER: "blocker(s)", Severity.WARNING: "warning(s)", Severity.UNKNOWN: "unknown"}
    for severity, name in names.items():
        count = sum(one.severity is severity for one in findings)
        if count:
            yield f"{count} {name}"


def node_data(report: NodeReport) -> dict[str, Any]:
    """A node of the schemas ``doctor`` and ``node-check``."""
    return {
        "node": report.node,
        "pve": report.version,
        "hardware": _hardware_data(report.hardware) if report.hardware else None,
        "findings": findings_data(report.findings),
        "cards": [_card_data(one) for one in report.cards],
    }


def host_data(report: HostReport) -> dict[str, Any]:
    """A host of the schema ``doctor``."""
    return {"host": report.host, "system": report.system, "findings": findings_data(report.findings)}


def findings_data(findings: Sequence[Finding]) -> list[dict[str, str]]:
    """With the severity, as no list of their own tells it."""
    return [{"severity": one.severity.value, **finding_data(one)} for one in findings]


def _hardware_data(hardware: NodeHardware) -> dict[str, Any]:
    return {
        "kernel": hardware.kernel,
        "cmdline": list(hardware.cmdline),
        "boot_loader": hardware.loader.value,
        "proxmox_boot_tool": hardware.uses_boot_tool,
        "secure_boot": hardware.secure_boot,
        "prepared": list(hardware.prepared),
    }


def _card_data(card: CardReport) -> dict[str, Any]:
    return {
        "address": card.card.slot,
        "name": card.card.name,
        "id": card.card.pci_id,
        "iommu_group": card.card.iommu_group,
        "functions": [
            {
                "address": str(one.address),
                "id": one.short_id,
                "driver": one.driver or None,
                "reset_methods": list(one.reset_methods),
            }
            for one in card.functions
        ],
        "findings": findings_data(card.findings),
    }
