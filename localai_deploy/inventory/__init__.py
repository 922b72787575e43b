"""Ansible inventories: read with their sources, checked, begun, and kept true for VMs of ours."""
