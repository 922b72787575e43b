"""The cards of a VM: which they are, by which mappings, and what speaks against it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from localai_deploy.domain.node.findings import passthrough_findings
from localai_deploy.domain.node.hardware import NodeHardware
from localai_deploy.domain.node.outlook import CardOutlook
from localai_deploy.domain.node.outlook import CardUser as OutlookUser
from localai_deploy.domain.observations import Observation, State
from localai_deploy.domain.plan import Change, Finding, Severity
from localai_deploy.domain.pve.card_claims import CardUser, Claim, card_held, claims_on
from localai_deploy.domain.pve.facts import NodeFacts, VmFacts
from localai_deploy.domain.pve.gpu_selection import CardChoice, NodeCards, select_cards
from localai_deploy.domain.pve.hardware import CardOnNode
from localai_deploy.domain.pve.hostpci import cards_in
from localai_deploy.domain.pve.lease import Holder, read_leases
from localai_deploy.domain.pve.mapping import ResourceMapping, create_command, entry_for
from localai_deploy.domain.pve.permissions import MAPPINGS_PATH, Need, card_needs, missing_needs
from localai_deploy.domain.pve.vm import EFI_OPTIONS, Acceleration, VmSpec


@dataclass(frozen=True, slots=True)
class CardsPlan:
    """Cards of one VM.

    :param choices: those that it is to have.
    :param gone: names of the mappings whose cards it has by us and is to lose.
    :param needs: rights that the cards take.
    :param findings: about their selection, their mappings and who has them.
    """

    choices: tuple[CardChoice, ...] = ()
    gone: tuple[str, ...] = ()
    needs: tuple[Need, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def is_about_cards(self) -> bool:
        """Whether there is anything to say of cards at all."""
        return bool(self.choices or self.gone or self.findings)

    @property
    def guest_ids(self) -> tuple[str, ...]:
        """Vendor and device of all functions that the guest will see."""
        return tuple(sorted(each for one in self.choices for each in one.guest_ids))


@dataclass(frozen=True, slots=True)
class _Asked:
    """One VM's question for cards."""

    spec: VmSpec
    node: NodeFacts
    vm: VmFacts | None
    now: float
    hardware: NodeHardware | None

    @property
    def holder(self) -> Holder:
        return holder_of(self.spec, self.vm)

    def others(self, users: Iterable[CardUser]) -> tuple[CardUser, ...]:
        return tuple(one for one in users if not one.holder.is_same(self.holder))

    def rivals(self, card: CardOnNode) -> tuple[Claim, ...]:
        """Other VMs' claims to the card, which are respected."""
        claims = claims_on(self.node.world, self.node.node, [card.slot], self.now)
        return tuple(one for one in claims if not one.holder.is_same(self.holder))

    def sharers(self, card: CardOnNode) -> tuple[CardUser, ...]:
        """Other VMs that have the card in their config, running or not."""
        return self.others(self.node.world.users_of(self.node.node, [card.slot]))

    def outlook(self, card: CardOnNode, mapping: ResourceMapping | None = None) -> CardOutlook:
        """What the preflight goes by; who runs with the card is told apart from it, as a holder."""
        entries = mapping.entries_on(card.node) if mapping else ()
        acceleration = Acceleration(self.node.has_kvm).parameters()
        config = self.vm.config if self.vm else {"machine": "q35", "efidisk0": EFI_OPTIONS}
        emulated = str(config.get("kvm", 1)) == "0"
        return CardOutlook(
            card=card,
            devices=self.node.devices or (),
            hardware=self.hardware,
            users=tuple(
                OutlookUser(one.vmid, running=False) for one in self.sharers(card) if not one.running
            ),
            mapping=entries[0] if entries else None,
            memory_available_bytes=self.node.memory_available_bytes,
            memory_mib=None if self.vm and self.vm.running else self.spec.memory_mib,
            machine=str(config.get("machine", "")),
            cpu=str(config.get("cpu", "")) if emulated else str(acceleration["cpu"]),
            efidisk=str(config.get("efidisk0", "")),
            accepted=frozenset(self.spec.accepted),
        )


def holder_of(spec: VmSpec, vm: VmFacts | None) -> Holder:
    """The VM as leases name it; one that is still to be made goes by its name."""
    return Holder(spec.name) if vm is None else Holder(spec.name, vm.vmid, vm.block.uuid)


def plan_cards(
    spec: VmSpec, node: NodeFacts, vm: VmFacts | None, now: float, hardware: NodeHardware | None = None
) -> tuple[VmSpec, CardsPlan]:
    """The spec with its cards named by their mappings, and all that is to be said of them.

    :param now: seconds since 1970, by which a lease is young or old.
    :param hardware: what the node itself tells over SSH; ``None``: nobody looked.
    """
    recorded = (*vm.block.mappings, *vm.block.gave) if vm else ()
    if not spec.gpus:
        return spec, CardsPlan(gone=recorded)
    if node.devices is None:
        return spec, CardsPlan(needs=card_needs(()), findings=_blind(node))
    asked = _Asked(spec, node, vm, now, hardware)
    found = select_cards(spec.gpus, _node_cards(asked))
    names = tuple(one.name for one in found.choices)
    findings = (
        *found.findings,
        *(one for choice in found.choices for one in _choice_findings(choice, asked)),
    )
    gone = tuple(name for name in recorded if name not in names) if not found.findings else ()
    needs = card_needs(one.name for one in found.choices if not _is_unmappable(one, node))
    return replace(spec, gpus=names), CardsPlan(found.choices, gone, needs, findings)


def _blind(node: NodeFacts) -> tuple[Finding, ...]:
    """Without the right to list the hardware; which right that is, the preflight of rights tells."""
    if missing_needs(card_needs(()), node.permissions):
        return ()
    return (
        Finding(
            "pve-rights-missing",
            Severity.BLOCKER,
            f"node {node.node} does not list its PCI devices to this token",
            "nobody can say which card is meant",
            f"on the node: pvesh get /nodes/{node.node}/hardware/pci",
        ),
    )


def _node_cards(asked: _Asked) -> NodeCards:
    node = asked.node
    users = {card.slot: tuple(_users(card, asked)) for card in node.cards}
    held = {device.mapping for device in cards_in(asked.vm.config).values()} if asked.vm else set()
    gave = asked.vm.block.gave if asked.vm else ()
    return NodeCards(
        node=node.node,
        cards=node.cards,
        mappings=node.world.mappings,
        users={slot: names for slot, names in users.items() if names},
        held=frozenset(held - {"", *gave}),
        against=lambda card: _speaks_against(asked.outlook(card)),
    )


def _users(card: CardOnNode, asked: _Asked) -> Iterator[str]:
    """Other VMs that have the card in their config, running or not, or have its lease."""
    holders = [one.holder for one in asked.sharers(card)] + [one.holder for one in asked.rivals(card)]
    yield from dict.fromkeys(map(str, holders))


def _speaks_against(outlook: CardOutlook) -> str:
    found = passthrough_findings(outlook)
    return next((one.finding_id for one in found if one.severity is Severity.BLOCKER), "")


def _choice_findings(choice: CardChoice, asked: _Asked) -> Iterator[Finding]:
    node, rivals = asked.node, asked.rivals(choice.card)
    if rivals:
        held = Finding.from_error(card_held(choice.name, node.node, rivals[0]))
        yield replace(held, hint=f"{held.hint}, --gpu none (localai_gpu: none) leaves this VM without it")
    yield from passthrough_findings(asked.outlook(choice.card, choice.mapping))
    if _is_unmappable(choice, node):
        yield _cannot_map(choice, node)


def _is_unmappable(choice: CardChoice, node: NodeFacts) -> bool:
    """A mapping has to be made, and the token may not."""
    may_not = missing_needs([Need(MAPPINGS_PATH, "Mapping.Modify")], node.permissions)
    return choice.mapping is None and bool(may_not)


def _cannot_map(choice: CardChoice, node: NodeFacts) -> Finding:
    user = node.token.partition("!")[0]
    return Finding(
        "card-unmapped",
        Severity.BLOCKER,
        f"no resource mapping that this token may see stands for {choice.card}, and it may not make one",
        "a VM gets a card by a mapping; to make one takes Mapping.Modify on /mapping/pci",
        f"as root on the node, or grant {user} Mapping.Use on the mapping that is there:\n"
        f"{create_command(choice.name, choice.card)}\n"
        f"pveum acl modify /mapping/pci/{choice.name} --users {user} --tokens '{node.token}' "
        "--roles PVEMappingUser",
    )


def observe_cards(cards: CardsPlan, holder: Holder, node: NodeFacts) -> Observation:
    """Whether mappings and leases are as the VM needs them."""
    changes = tuple(_card_changes(cards, holder, node))
    text = "; ".join(f"{one.card} by mapping {one.name}" for one in cards.choices)
    if cards.gone:
        text = "; ".join(filter(None, (text, f"the VM loses {', '.join(cards.gone)}")))
    if any(one.mapping is None for one in cards.choices):
        return Observation(State.ABSENT, f"map {text}", changes)
    return Observation(State.PARTIAL if changes else State.PRESENT, text or "no card is found", changes)


def _card_changes(cards: CardsPlan, holder: Holder, node: NodeFacts) -> Iterator[Change]:
    for one in cards.choices:
        if one.mapping is None:
            yield Change(f"mapping {one.name}", "", str(entry_for(one.card)))
        if may_lease(one.name, node) and not _has_lease(one, holder, node):
            yield Change(f"lease of {one.name}", "", holder.name)
    for name in cards.gone:
        mapping = node.world.mapping(name)
        leases = read_leases(mapping.description) if mapping else ()
        if any(lease.holder.is_same(holder) for lease in leases):
            yield Change(f"lease of {name}", holder.name, "")


def may_lease(mapping: str, node: NodeFacts) -> bool:
    """Whether the token may write who has the card."""
    return not missing_needs([Need(f"{MAPPINGS_PATH}/{mapping}", "Mapping.Modify")], node.permissions)


def _has_lease(choice: CardChoice, holder: Holder, node: NodeFacts) -> bool:
    """Also by its id, once the VM has one: a run may have been cut off before it wrote that."""
    leases = read_leases(choice.mapping.description) if choice.mapping else ()
    named = (one.holder for one in leases if one.node == node.node and one.holder.is_same(holder))
    return any(one.vmid == holder.vmid or not holder.vmid for one in named)
