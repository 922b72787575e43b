"""The Proxmox VE API; the only importer of proxmoxer."""
