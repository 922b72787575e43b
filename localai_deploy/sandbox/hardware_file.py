"""What hardware a sandbox has, out of a small YAML file: its nodes, their cards, who uses them, what fails.

Format: see docs/sandbox-hardware.md. A file of one's own or one of those that are shipped, by its name.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from localai_deploy.errors import InputError
from localai_deploy.sandbox.hardware_spec import CardSpec, Function, Hardware, NodeSpec, VmSpec

_PRESETS = Path(__file__).with_name("hardware_presets")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,62}")
_SLOT = re.compile(r"[0-9a-f]{2}:[01][0-9a-f]")
_FUNCTION = re.compile(r"[0-9a-f]{2}:[01][0-9a-f]\.[0-7]")
_ID = re.compile(r"[0-9a-f]{4}:[0-9a-f]{4}")
_CLASS = re.compile(r"[0-9a-f]{6}")
MODELS = {"secondary-vga": ("1234:1111", "1af4:1100", "038000")}
"""QEMU's emulated display devices that a guest gets in place of a card: PCI id, subsystem, class."""


def preset_names() -> list[str]:
    """Names of the files that are shipped."""
    return sorted(path.stem for path in _PRESETS.glob("*.yml"))


def load_hardware(text: str) -> Hardware:
    """Read a file, or a shipped one by its name; empty: nodes have no hardware of note.

    :raises InputError: ``sandbox-hardware-invalid``.
    """
    if not text:
        return Hardware()
    import yaml

    path = _PRESETS / f"{text}.yml" if text in preset_names() else Path(text)
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise _invalid(f"{text!r} is no file and no shipped hardware", _nearest(text)) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise _invalid(f"{path} cannot be read", str(error)) from error
    return parse_hardware(data, str(path))


def parse_hardware(data: object, place: str) -> Hardware:
    """Check decoded YAML.

    :raises InputError: ``sandbox-hardware-invalid``.
    """
    whole = _Fields(data, place)
    nodes = tuple(_node(name, one, place) for name, one in whole.named("nodes").items())
    mappings = {
        name: tuple(map(str, _list(one, f"{place}: mappings: {name}")))
        for name, one in whole.named("mappings").items()
    }
    vms = tuple(_vm(one, f"{place}: vms", nodes) for one in whole.items("vms"))
    whole.end()
    if not nodes:
        raise _invalid(f"{place}: there is no node", "nodes: {sandbox: {cards: […]}}")
    return Hardware(nodes, mappings, vms)


class _Fields:
    """The keys of one mapping, each asked for once; :meth:`end` refuses what nobody asked for."""

    def __init__(self, data: object, place: str) -> None:
        if not isinstance(data, Mapping):
            raise _invalid(f"{place}: a mapping is expected", f"it is {data!r}")
        self._data, self._asked, self.place = data, set[str](), place

    def text(self, key: str, pattern: re.Pattern[str] | None = None, default: str | None = None) -> str:
        value = self._get(key, default)
        if not isinstance(value, str) or (pattern and value and not pattern.fullmatch(value)):
            form = f", in the form {pattern.pattern}" if pattern else ""
            raise _invalid(f"{self.place}: {key} is {value!r}", f"a quoted text is expected{form}")
        return value

    def number(self, key: str, default: int | None = None) -> int:
        value = self._get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise _invalid(f"{self.place}: {key} is {value!r}", "a whole number is expected")
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        value = self._get(key, default)
        if not isinstance(value, bool):
            raise _invalid(f"{self.place}: {key} is {value!r}", "true or false is expected")
        return value

    def choice(self, key: str, choices: Iterable[str], default: str) -> str:
        value = self._get(key, default)
        if value not in (allowed := tuple(choices)):
            raise _invalid(f"{self.place}: {key} is {value!r}", f"one of {', '.join(allowed)} is expected")
        return str(value)

    def items(self, key: str) -> list[Any]:
        return _list(self._get(key, []), f"{self.place}: {key}")

    def named(self, key: str) -> dict[str, Any]:
        value = self._get(key, {})
        if not isinstance(value, Mapping) or not all(_NAME.fullmatch(str(name)) for name in value):
            raise _invalid(f"{self.place}: {key} is {value!r}", "names with values are expected")
        return {str(name): one for name, one in value.items()}

    def end(self) -> None:
        for key in self._data:
            if key not in self._asked:
                close = difflib.get_close_matches(str(key), self._asked, n=1)
                meant = f"did you mean {close[0]}?" if close else f"known: {', '.join(sorted(self._asked))}"
                raise _invalid(f"{self.place}: {key!r} is unknown", meant)

    def _get(self, key: str, default: Any) -> Any:  # noqa: ANN401
        self._asked.add(key)
        value = self._data.get(key, default)
        if value is None:
            raise _invalid(f"{self.place}: {key} is missing", "see docs/sandbox-hardware.md")
        return value


def _node(name: str, data: object, place: str) -> NodeSpec:
    found = _Fields(data, f"{place}: nodes: {name}")
    node = NodeSpec(
        name=name,
        iommu=found.flag("iommu", default=True),
        memory_gib=found.number("memory_gib", 0),
        cpus=found.number("cpus", 0),
        cards=tuple(_card(one, found.place) for one in found.items("cards")),
        others=tuple(_other(one, found.place) for one in found.items("others")),
    )
    found.end()
    return node


def _card(data: object, place: str) -> CardSpec:
    found = _Fields(data, f"{place}: cards")
    slot = found.text("address", _SLOT)
    model = found.choice("emulated", ("", *MODELS), "")
    card_id, subsystem, kind = MODELS.get(model, ("", "", "030000"))
    if not model:
        card_id, subsystem = found.text("id", _ID), found.text("subsystem", _ID, "")
    group, driver = found.number("group"), found.text("driver", default="")
    first = Function(f"{slot}.0", card_id, kind, group, subsystem, found.text("name", default=""), driver)
    audio = found.text("audio", _ID, "")
    second = (Function(f"{slot}.1", audio, "040300", group, subsystem, driver=driver),) if audio else ()
    reset = found.choice("reset", ("works", "fails"), "works")
    start = found.choice("start", ("works", "times-out"), "works")
    found.end()
    return CardSpec(slot, (first, *second), model, reset == "fails", start == "times-out")


def _other(data: object, place: str) -> Function:
    found = _Fields(data, f"{place}: others")
    function = Function(
        address=found.text("address", _FUNCTION),
        id=found.text("id", _ID),
        class_id=found.text("class", _CLASS),
        group=found.number("group"),
        subsystem=found.text("subsystem", _ID, ""),
        name=found.text("name", default=""),
        driver=found.text("driver", default=""),
    )
    found.end()
    return function


def _vm(data: object, place: str, nodes: tuple[NodeSpec, ...]) -> VmSpec:
    found = _Fields(data, place)
    first = nodes[0].name if nodes else ""
    vm = VmSpec(
        vmid=found.number("vmid"),
        name=found.text("name", _NAME),
        node=found.choice("node", (one.name for one in nodes), first),
        card=found.text("card"),
        running=found.flag("running", default=True),
    )
    found.end()
    return vm


def _list(value: object, place: str) -> list[Any]:
    if not isinstance(value, list):
        raise _invalid(f"{place}: a list is expected", f"it is {value!r}")
    return value


def _nearest(text: str) -> str:
    close = difflib.get_close_matches(text, preset_names(), n=1)
    return f"did you mean {close[0]}?" if close else f"shipped are {', '.join(preset_names())}"


def _invalid(what: str, why: str) -> InputError:
    return InputError("sandbox-hardware-invalid", what, why=why, hint="the format: docs/sandbox-hardware.md")
