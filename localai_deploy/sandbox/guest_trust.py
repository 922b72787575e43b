"""A certificate authority that container guests trust besides the usual ones."""

from __future__ import annotations

from pathlib import Path

from localai_deploy.sandbox.command import run

_BUNDLE = "etc/ssl/certs/ca-certificates.crt"
_NAME = "localai-sandbox"


def trust_files(authority: Path, root: Path) -> dict[str, str]:
    """What update-ca-certificates would do with it in ``root``: path below the root → text.

    :param authority: a certificate, PEM.
    :raises MachineError: it is no certificate.
    """
    text = authority.read_text(encoding="ascii")
    hashed = run("openssl", "x509", "-noout", "-hash", "-in", str(authority)).strip()
    return {
        f"usr/local/share/ca-certificates/{_NAME}.crt": text,
        f"etc/ssl/certs/{_NAME}.pem": text,
        f"etc/ssl/certs/{hashed}.0": text,
        _BUNDLE: (root / _BUNDLE).read_text(encoding="utf-8") + text,
    }
