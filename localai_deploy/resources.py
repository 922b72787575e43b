"""Find ``playbooks/`` and ``templates/`` in a checkout, an editable and a wheel install."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def resource_dir(name: str) -> Path:
    """Directory ``playbooks`` or ``templates``.

    A wheel carries both inside the package; a checkout has them beside it.

    :raises FileNotFoundError: the installation is damaged.
    """
    for candidate in (_PACKAGE / name, _PACKAGE.parent / name):
        if candidate.is_dir():
            return candidate
    raise FileNotFoundError(f"{name}/ is missing from this installation of localai-deploy")
