"""Errors of the Proxmox VE API."""

from __future__ import annotations

from localai_deploy.explanations import Explanation

EXPLANATIONS: dict[str, Explanation] = {
    "pve-host-missing": Explanation(
        title="Nobody says where the Proxmox node is",
        cause="Neither the inventory nor PROXMOX_HOST names it.",
        detection="Before any connection.",
        fix="Set PROXMOX_HOST, or add the node to group proxmox_nodes.",
    ),
    "pve-token-invalid": Explanation(
        title="The Proxmox API token is incomplete",
        cause="A user with realm, a token's name and its secret are needed.",
        detection="Before any connection.",
        fix="Set PROXMOX_USER, PROXMOX_TOKEN_ID and PROXMOX_TOKEN_SECRET.",
    ),
    "pve-fingerprint-invalid": Explanation(
        title="A certificate's fingerprint cannot be read",
        cause="It is not the 64 hex digits of a SHA-256.",
        detection="Before any connection.",
        fix=(
            "Print it on the node with openssl x509 -noout -fingerprint -sha256 -in "
            "/etc/pve/local/pve-ssl.pem"
        ),
    ),
    "pve-answer-unreadable": Explanation(
        title="An answer of the API cannot be read",
        cause="Another version, or a proxy in between that answers in its place.",
        detection="Parsing the answer failed.",
        fix="Check that host and port are those of a Proxmox node.",
    ),
    "pve-version-unsupported": Explanation(
        title="The node's Proxmox VE is too old",
        cause="Resource mappings and disk import by API came with 8.",
        detection="GET /version.",
        fix="Upgrade the node to Proxmox VE 8 or 9.",
    ),
    "pve-auth-failed": Explanation(
        title="The API does not accept the token",
        cause="A wrong secret, an expired or removed token.",
        detection="The server answered 401.",
        fix="Check user, token id and secret; make a new token if in doubt.",
    ),
    "pve-forbidden": Explanation(
        title="The token lacks a privilege",
        cause="New tokens have no rights of their own: privilege separation is on by default.",
        detection="The server answered 403, mostly with path and privilege.",
        fix="Grant what the message names to the token, not only to its user.",
    ),
    "pve-bad-parameter": Explanation(
        title="The server refuses a parameter",
        cause="A value in the inventory that this node cannot have, or a bug.",
        detection="The server answered 400 and named the parameter.",
        fix="Correct the value that the message names.",
    ),
    "pve-node-offline": Explanation(
        title="A node of the cluster does not answer",
        cause="It is off, or its cluster network is down.",
        detection="The server answered 595 to 599.",
        fix="Bring the node back, or ask it directly.",
    ),
    "pve-path-unknown": Explanation(
        title="The API does not know the path",
        cause="An old Proxmox VE, or another server.",
        detection="The server answered 501.",
        fix="Check that it is Proxmox VE 8 or newer.",
    ),
    "image-unknown": Explanation(
        title="There is no cloud image of that name",
        cause="A typo, or a system that the catalogue does not have.",
        detection="Before anything is asked of the node.",
        fix="Take a catalogue name, or give URL and checksum: https://HOST/PATH/FILE.qcow2#sha512=HEX",
    ),
    "image-invalid": Explanation(
        title="A cloud image's URL cannot be used",
        cause="Its checksum is missing or malformed, or Proxmox cannot import such a file.",
        detection="Before anything is asked of the node.",
        fix=("Write https://HOST/PATH/FILE.qcow2#sha512=HEX with the checksum that the publisher lists."),
    ),
    "pve-failed": Explanation(
        title="A call of the Proxmox API failed",
        cause="See the server's words in the message.",
        detection="The server answered 500, or a task failed.",
        fix="Act on the server's words; the task log on the node says more.",
    ),
    "pve-timeout": Explanation(
        title="The API did not answer in time",
        cause="The node is overloaded, or a storage hangs.",
        detection="No answer within the time-out.",
        fix="Run again: what was carried out is seen.",
    ),
    "pve-unreachable": Explanation(
        title="The API cannot be reached",
        cause="Wrong host or port, a firewall, or the node is off.",
        detection="No connection.",
        fix="Check host and port 8006 from this machine.",
    ),
    "pve-task-timeout": Explanation(
        title="A task takes too long",
        cause="A slow download or storage.",
        detection="The task had not stopped at the end of the time.",
        fix="Look at the task on the node, then run again.",
    ),
    "pve-task-lost": Explanation(
        title="The server forgot a task",
        cause="The node was restarted, or cleaned its task list.",
        detection="The server does not know the task's id.",
        fix="Run again: what is done is seen.",
    ),
    "pve-host-invalid": Explanation(
        title="The Proxmox node's host cannot be read",
        cause="It holds a URL, a user or a path.",
        detection="Before any connection.",
        fix="Give a name or address, with a port where it is not 8006.",
    ),
    "pve-interrupted": Explanation(
        title="The connection broke off",
        cause="The node or its proxy was restarted, or something in between cut it.",
        detection="The answer did not come, or not whole.",
        fix="Run again: what was carried out is seen.",
    ),
    "pve-redirected": Explanation(
        title="The server sends us elsewhere",
        cause="Something other than the node's API answers there.",
        detection="The answer is a redirect, which is not followed: the token would go along.",
        fix="Give the node's own name and port.",
    ),
    "tls-missing": Explanation(
        title="The server does not speak TLS",
        cause="The port belongs to something else; the API is https on 8006.",
        detection="The TLS handshake got another protocol.",
        fix="Check host and port.",
    ),
    "tls-expired": Explanation(
        title="The server's certificate is not valid now",
        cause="It expired, or a clock is wrong.",
        detection="TLS verification, before anything is sent.",
        fix="Check both clocks; pvecm updatecerts --force on the node makes a new one.",
    ),
    "tls-wrong-name": Explanation(
        title="The server's certificate is for another name",
        cause="The host was named in another way than in its certificate.",
        detection="TLS verification, before anything is sent.",
        fix="Name it as the certificate does, or pin the certificate (PROXMOX_FINGERPRINT).",
    ),
    "tls-ca-unreadable": Explanation(
        title="The CA file cannot be used",
        cause="It is not there, not readable, or no PEM file.",
        detection="Before anything is sent.",
        fix="Copy /etc/pve/pve-root-ca.pem from the node and name it with PROXMOX_CA_FILE.",
    ),
    "tls-untrusted": Explanation(
        title="The server's certificate is not trusted",
        cause="Proxmox signs with its own CA, which this machine does not know.",
        detection="TLS verification, before anything is sent.",
        fix=("Give the cluster's CA (PROXMOX_CA_FILE) or pin the certificate (PROXMOX_FINGERPRINT)."),
    ),
    "tls-fingerprint-mismatch": Explanation(
        title="The server's certificate is not the pinned one",
        cause="It was renewed, or somebody is in between.",
        detection="TLS verification, before anything is sent.",
        fix="Compare on the node itself, then pin the new one.",
    ),
    "vm-name-invalid": Explanation(
        title="A VM cannot have this name",
        cause="The name becomes the guest's host name.",
        detection="Before anything is asked of the node.",
        fix="Small letters, digits and '-', at most 63.",
    ),
    "vm-name-twice": Explanation(
        title="Several of our VMs carry one name",
        cause="Somebody changed a description by hand.",
        detection="The blocks in the descriptions of the pool's VMs.",
        fix="Remove the block from the description of all but one.",
    ),
    "vm-not-ours": Explanation(
        title="The VM is not ours",
        cause="Pool, tag, VM id or SMBIOS UUID do not match: a clone or a restored backup.",
        detection="Read again right before a change that cannot be undone.",
        fix="Nothing is done to it. Remove it on the Proxmox pages if it is to go.",
    ),
    "guest-address-invalid": Explanation(
        title="The guest's static address cannot be used",
        cause="It has no prefix, or the gateway lies outside its network.",
        detection="Before anything is asked of the node, which would accept it.",
        fix="Write ADDRESS/PREFIX and a gateway inside that network.",
    ),
    "ssh-key-missing": Explanation(
        title="No public SSH key is known for the guest",
        cause="The guest lets its user in by key only.",
        detection="Neither the inventory nor ~/.ssh has one.",
        fix="Make one with ssh-keygen -t ed25519.",
    ),
    "ssh-key-invalid": Explanation(
        title="That is no public SSH key",
        cause="A private key or another file was given.",
        detection="Its first characters.",
        fix="Give the .pub file.",
    ),
    "pve-content-missing": Explanation(
        title="A storage does not take the content that is needed",
        cause="Images need content `import`, seeds content `iso`; storages take them only when told to.",
        detection="GET /nodes/NODE/storage.",
        fix="pvesm set STORAGE --content … as the message shows.",
    ),
    "pve-readback-failed": Explanation(
        title="What was made is not what was asked for",
        cause="The node accepted the call and did something else, or somebody changed it at once.",
        detection="Every create and change is read back and compared.",
        fix="Look at the differences in the message, then run again.",
    ),
}
