"""The embedded node: an HTTPS server for the part of the Proxmox VE API that the project uses."""
