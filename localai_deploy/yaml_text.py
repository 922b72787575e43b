"""Data as YAML that Ansible reads back unchanged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

_MARKS = ("{{", "{%", "{#")


class Template(str):
    """Text that is meant to be a Jinja template; in all other text braces stay braces."""

    __slots__ = ()


def dump_yaml(data: Mapping[str, Any]) -> str:
    """A document with its ``---``."""
    return f"---\n{dump_block(data)}"


def dump_block(data: Mapping[str, Any]) -> str:
    """Lines of a mapping, to be put into a document; empty for an empty one."""
    if not data:
        return ""
    return yaml.dump(dict(data), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


class _Dumper(yaml.SafeDumper):
    """Marks strings with Jinja's opening marks as ``!unsafe``, and never writes aliases."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ANN401, ARG002
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002
        """Lists are indented below their key, as yamllint and ansible-lint want it."""
        super().increase_indent(flow, False)  # noqa: FBT003


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    tag = "!unsafe" if any(mark in text for mark in _MARKS) else "tag:yaml.org,2002:str"
    return dumper.represent_scalar(tag, text)


def _represent_template(dumper: yaml.SafeDumper, text: Template) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style=">")


_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(Template, _represent_template)
