"""The lab: real systemd hosts, real SSH and a mirror of real content, on one machine."""
