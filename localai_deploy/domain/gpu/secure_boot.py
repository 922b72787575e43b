"""Secure Boot and modules that are built on the host: what a person has to do, and nobody else can."""

from __future__ import annotations

CERTIFICATES = {"ubuntu": "/var/lib/shim-signed/mok/MOK.der"}
CERTIFICATE = "/var/lib/dkms/mok.pub"
"""Where DKMS has the certificate of the key that it signs with; Ubuntu's package shim-signed has its own."""


def enrolment_steps(os_id: str) -> str:
    """From the key that is made to the key that the firmware knows."""
    return (
        f"log in there: sudo mokutil --import {CERTIFICATES.get(os_id, CERTIFICATE)} (it asks for a password "
        "that is used once), sudo reboot; at the console, before the boot goes on: Enroll MOK, Continue, "
        "Yes, that password, Reboot"
    )
