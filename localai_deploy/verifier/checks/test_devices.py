"""Whether the host has what was passed through to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from localai_deploy.verifier.checking import Evidence, check, expect_none
from localai_deploy.verifier.evidence import HostState


@check("devices-present", "the cards that were passed through are on the host's PCI bus")
def test_devices_present(state: HostState, devices: Sequence[str], evidence: Evidence) -> None:
    evidence.update(expected=list(devices), on_the_bus=len(state.pci_devices))
    expect_none(device_problems(devices, state.pci_devices))


def device_problems(expected: Sequence[str], found: Sequence[str]) -> Iterator[str]:
    """Vendor and device and how often each is there; addresses are others than on the node."""
    there = Counter(found)
    for device, count in sorted(Counter(expected).items()):
        if there[device] < count:
            seen = f"{there[device]} times" if there[device] else "not at all"
            yield f"{device} is there {seen}, not {count} times"
