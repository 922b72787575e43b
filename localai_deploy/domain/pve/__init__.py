"""Proxmox VE's strings as typed values, parsed and formatted in one place each."""
