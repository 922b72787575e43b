"""What the lab's mirror offers to an embedded node and its guests, as options and host variables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.lab.content import ensure_content
from tests.lab.empty_image import ensure_empty_image
from tests.lab.mirror_daemon import HTTPS_PORT, ensure_authority, ensure_mirror, mirror_urls
from tests.lab.network import MIRROR_NAMES, mirror_address

if TYPE_CHECKING:
    from tests.lab.layout import Lab


def make_offer(lab: Lab) -> dict[str, Any]:
    """Build the content that is missing, start the mirror, and tell how to use it.

    ``options`` are of ``localai-deploy sandbox start``, ``variables`` of its VMs. Their image is empty: it is
    for guests that do not boot from their disk.
    """
    ensure_content(lab.directory)
    image, mirror = ensure_empty_image(lab), ensure_mirror(lab)
    names = MIRROR_NAMES[0], f"{mirror_address(lab)}:{HTTPS_PORT}"
    return {
        "options": [
            *("--debian-mirror", f"{mirror}/debian"),
            *("--forward", "=".join(names), "--forward", mirror.removeprefix("http://")),
            *("--guest-ca", str(ensure_authority(lab).certificate)),
        ],
        "variables": {
            "localai_image": f"{image.url}#sha512={image.sha512}",
            "localai_mirrors": {**mirror_urls(lab), "apt": mirror},
        },
    }
