"""The cloud-init data that the node writes for a guest."""

from __future__ import annotations

import hashlib
import ipaddress
from urllib.parse import unquote

from localai_deploy.sandbox.site import Call, Handler
from localai_deploy.sandbox.state import Config
from localai_deploy.sandbox.vm_values import parse
from localai_deploy.sandbox.vms import load


def dump(call: Call) -> str:
    """Answer GET /nodes/{node}/qemu/{vmid}/cloudinit/dump."""
    vm = load(call)
    config = {k: v for k, v in vm.config.items() if k not in vm.pending_delete} | vm.pending
    made = {"user": user_data, "network": network_data}
    if call.values["type"] in made:
        return made[call.values["type"]](call, config)
    text = user_data(call, config) + network_data(call, config)
    return f"instance-id: {hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()}\n"


def user_data(call: Call, config: Config) -> str:
    """The `user-data` of a guest, as the server words it."""
    name = config.get("name", f"VM{call.values['vmid']}")
    host = name.partition(".")[0]
    domain = config.get("searchdomain")
    fqdn = name if "." in name or not domain else f"{name}.{domain}"
    lines = ["#cloud-config", f"hostname: {host}", "manage_etc_hosts: true", f"fqdn: {fqdn}"]
    if "ciuser" in config:
        lines.append(f"user: {config['ciuser']}")
    if "cipassword" in config:
        lines.append(f"password: {config['cipassword']}")
    keys = [key for key in unquote(config.get("sshkeys", "")).splitlines() if key.strip()]
    if keys:
        lines += ["ssh_authorized_keys:", *(f"  - {key}" for key in keys)]
    lines += ["chpasswd:", "  expire: False"]
    if config.get("ciuser") != "root":
        lines += ["users:", "  - default"]
    if config.get("ciupgrade", 1) and call.major > 7:
        lines.append("package_upgrade: true")
    return "\n".join(lines) + "\n"


def network_data(call: Call, config: Config) -> str:
    """The network configuration (version 1) of a guest."""
    release = call.cluster.release
    lines = ["version: 1", "config:"]
    nets = sorted((n for n in config if n.startswith("net") and n[3:].isdigit()), key=lambda n: int(n[3:]))
    for name in nets:
        mac = parse(name, config[name], release).get("macaddr", "").lower()
        lines += [
            "    - type: physical",
            f"      name: eth{name[3:]}",
            f"      mac_address: '{mac}'",
            "      subnets:",
        ]
        lines += _subnets(parse("ipconfig0", config.get(f"ipconfig{name[3:]}", ""), release))
    servers, domain = config.get("nameserver", "").split(), config.get("searchdomain")
    if servers or domain:
        lines += ["    - type: nameserver"]
        lines += ["      address:", *(f"      - '{server}'" for server in servers)] if servers else []
        lines += ["      search:", f"      - '{domain}'"] if domain else []
    return "\n".join(lines) + "\n"


def _subnets(ipconfig: dict[str, str]) -> list[str]:
    lines: list[str] = []
    if ipconfig.get("ip") == "dhcp":
        lines.append("      - type: dhcp4")
    elif "ip" in ipconfig:
        address = ipaddress.IPv4Interface(ipconfig["ip"])
        lines += [
            "      - type: static",
            f"        address: '{address.ip}'",
            f"        netmask: '{address.netmask}'",
        ]
        lines += [f"        gateway: '{ipconfig['gw']}'"] if "gw" in ipconfig else []
    return lines


HANDLERS: dict[str, Handler] = {"GET /nodes/{node}/qemu/{vmid}/cloudinit/dump": dump}
