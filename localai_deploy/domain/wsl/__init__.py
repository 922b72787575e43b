"""Windows Subsystem for Linux: what such a host is, and what speaks against a deployment there."""
