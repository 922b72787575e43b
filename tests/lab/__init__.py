"""The lab: real systemd hosts, real SSH and a mirror of real content, on one machine.

By hand::

    python -m tests.lab prepare          # once: image and content
    python -m tests.lab up box           # JSON: address, user, key, fingerprint, mirrors
    python -m tests.lab down box
    python -m tests.lab clean [--all]    # also after a crash

In tests: the fixtures of :mod:`tests.lab.fixtures`. Faults of the shared mirror are given the host they
are meant for (``Fault("cut", path="/hf/*", value=1000, client=host.address)``); a test that wants a mirror
of its own lets a :class:`tests.lab.mirror.Mirror` listen on ``host.network.gateway``.
"""
