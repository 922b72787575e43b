"""What the lab's mirror offers to an embedded node and its guests, as options and host variables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.lab.cloud_image import ensure_cloud_image
from tests.lab.content import ensure_content
from tests.lab.empty_image import ensure_empty_image
from tests.lab.mirror_daemon import HTTPS_PORT, ensure_authority, ensure_mirror, mirror_urls
from tests.lab.network import MIRROR_NAMES, mirror_address

if TYPE_CHECKING:
    from tests.lab.layout import Lab


def make_offer(lab: Lab, *, bootable: bool) -> dict[str, Any]:
    """Build the content that is missing, start the mirror, and tell how to use it.

    ``options`` are of ``localai-deploy sandbox start``, ``variables`` of its VMs.

    :param bootable: the VMs' image is a cloud image; else an empty one, for guests that do not boot from it.
    """
    ensure_content(lab.directory)
    mirror = ensure_mirror(lab)
    image = ensure_cloud_image(lab) if bootable else ensure_empty_image(lab)
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
