"""A certificate authority of the lab's own, so that hosts can check the mirror's https."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localai_deploy.sandbox.command import run

if TYPE_CHECKING:
    from pathlib import Path

_DAYS = "3650"
_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", _DAYS)


@dataclass(frozen=True, slots=True)
class Authority:
    """The files of an authority in ``directory``; made at first use."""

    directory: Path

    @property
    def certificate(self) -> Path:
        """What clients trust, PEM."""
        return self.directory / "ca.pem"

    @property
    def _key(self) -> Path:
        return self.directory / "ca.key"

    def ensure(self) -> Path:
        """Make the authority unless it is there; returns its certificate. One process at a time."""
        if not self.certificate.is_file():
            self.directory.mkdir(parents=True, exist_ok=True)
            run(
                *("openssl", "req", "-x509", *_KEY, "-subj", "/CN=localai-deploy lab"),
                *("-keyout", str(self._key), "-out", str(self.certificate)),
                *("-addext", "keyUsage=critical,keyCertSign,cRLSign"),
            )
        return self.certificate

    def hash_name(self) -> str:
        """The file name under which OpenSSL looks for the certificate in a folder of them."""
        return f"{run('openssl', 'x509', '-noout', '-hash', '-in', str(self.certificate)).strip()}.0"

    def server_context(self, address: str, names: tuple[str, ...]) -> ssl.SSLContext:
        """A TLS context with a fresh certificate for an IP address and host names."""
        self.ensure()
        certificate, key = self.directory / f"{address}.pem", self.directory / f"{address}.key"
        subjects = ",".join((f"IP:{address}", *(f"DNS:{name}" for name in names)))
        run(
            *("openssl", "req", "-x509", *_KEY, "-subj", f"/CN={names[0] if names else address}"),
            *("-CA", str(self.certificate), "-CAkey", str(self._key)),
            *("-keyout", str(key), "-out", str(certificate)),
            *("-addext", f"subjectAltName={subjects}", "-addext", "basicConstraints=critical,CA:FALSE"),
            *("-addext", "extendedKeyUsage=serverAuth"),
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        return context
