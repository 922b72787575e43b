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
    "pve-hostpci-root": Explanation(
        title="Only root may pass a raw PCI address through",
        cause="A token may use resource mappings only.",
        detection="The server's own words.",
        fix="Create a resource mapping for the card and grant Mapping.Use on it.",
    ),
    "pve-vmid-taken": Explanation(
        title="The VM id was taken in the meantime",
        cause="Another create was faster; free ids are not reserved.",
        detection="The server's own words.",
        fix="It is tried again with the next free id.",
    ),
    "pve-vm-locked": Explanation(
        title="The VM is locked",
        cause="A backup, migration or snapshot is at work, or was cut off.",
        detection="The server's own words.",
        fix="Wait for it, or unlock the VM: qm unlock VMID.",
    ),
    "pve-config-changed": Explanation(
        title="The configuration changed at the same moment",
        cause="Somebody else wrote it between our look and our change.",
        detection="The server compares a digest.",
        fix="Run again.",
    ),
    "pve-vm-missing": Explanation(
        title="The VM is not there",
        cause="It was removed, or moved to another node.",
        detection="The server's own words.",
        fix="Run up again to make it anew.",
    ),
    "pve-storage-missing": Explanation(
        title="The storage is not there",
        cause="A typo, or it is not enabled for this node.",
        detection="The server's own words.",
        fix="pvesm status on the node lists its storages.",
    ),
    "pve-node-unknown": Explanation(
        title="The cluster has no such node",
        cause="A typo in the node's name.",
        detection="The server's own words.",
        fix="pvesh get /nodes lists the nodes.",
    ),
    "pve-agent-silent": Explanation(
        title="The guest agent does not answer",
        cause="It is not installed yet, or the guest still boots.",
        detection="The server's own words.",
        fix="Wait for the first boot; look at the VM's console.",
    ),
    "pve-card-in-use": Explanation(
        title="The card belongs to a running VM",
        cause="One VM at a time owns a card.",
        detection="The start task's exit status.",
        fix="Shut the other VM down first.",
    ),
    "pve-no-quorum": Explanation(
        title="The cluster has no quorum",
        cause="Too many nodes are away.",
        detection="The server's own words.",
        fix="Bring the other nodes back.",
    ),
    "pve-no-kvm": Explanation(
        title="The node has no KVM",
        cause="Virtualisation is off in the firmware, or the node itself is a VM without nesting.",
        detection="The start task's exit status.",
        fix="Switch VT-x or AMD-V on.",
    ),
    "iommu-off": Explanation(
        title="The node's IOMMU is off",
        cause=("It is off in the firmware, or an Intel kernel before 6.8 runs without intel_iommu=on."),
        detection="No IOMMU groups; the start task says that it is not present.",
        fix="Switch VT-d or AMD-Vi on in the firmware and add the kernel option, then reboot.",
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
    "pve-image-checksum": Explanation(
        title="The downloaded image has another checksum",
        cause="The image changed upstream, or the checksum is wrong.",
        detection="The download task compares them.",
        fix="Take the checksum from the publisher's signed list.",
    ),
    "pve-download-failed": Explanation(
        title="The node could not download the image",
        cause="The node has no way to the URL, or it is gone.",
        detection="The download task's exit status.",
        fix="Try the URL on the node itself with wget.",
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
