"""NVIDIA cards and their drivers: what a PCI id tells, and which driver suits a host. Pure."""
