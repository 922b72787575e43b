"""PCI: where a device sits."""
