"""First text of every program that is sent: imports probes out of texts, and prints what they gather."""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import json
import sys
from types import ModuleType
from typing import Any

PACKAGE = "localai_deploy.verifier.probes"
MARK = "localai-deploy-evidence:"


class Texts:
    """Meta path finder and loader of modules given as text; their parent packages are empty."""

    def __init__(self, texts: dict[str, str]) -> None:
        self.texts = texts

    def find_spec(
        self, name: str, path: object = None, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        """See :class:`importlib.abc.MetaPathFinder`."""
        del path, target
        is_package = f"{PACKAGE}.".startswith(f"{name}.")
        if name not in self.texts and not is_package:
            return None
        return importlib.util.spec_from_loader(name, self, is_package=is_package)  # type: ignore[arg-type]

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        """See :class:`importlib.abc.Loader`."""
        del spec
        return None

    def exec_module(self, module: ModuleType) -> None:
        """See :class:`importlib.abc.Loader`."""
        code = compile(self.texts.get(module.__name__, ""), f"<{module.__name__}>", "exec")
        exec(code, module.__dict__)  # noqa: S102 - the text is this package's own


def run(texts: dict[str, str], probe: str, request: dict[str, Any]) -> None:
    """Print the evidence as one marked line of ASCII, whatever else a login shell prints."""
    sys.meta_path.insert(0, Texts(texts))
    evidence = importlib.import_module(f"{PACKAGE}.{probe}").gather(request)
    sys.stdout.write("\n" + MARK + json.dumps(evidence) + "\n")
