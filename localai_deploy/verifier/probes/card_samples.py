"""Cards over a span of time: energy, power, utilisation and memory by process, sampled beside some work."""

from __future__ import annotations

import ctypes
import threading
import time
from typing import Any

from localai_deploy.verifier.probes.libraries import CallFailed
from localai_deploy.verifier.probes.nvml import Nvml

PERIOD_S = 0.05


class CardSample:
    """One card from now on."""

    def __init__(self, nvml: Nvml, handle: ctypes.c_void_p) -> None:
        self._nvml = nvml
        self._handle = handle
        self._powers_mw: list[int] = []
        self._began_mj = nvml.energy_mj(handle)
        self._data: dict[str, Any] = {"error": "", "utilisation": None, "processes": {}, "used_bytes": 0}

    def look(self) -> None:
        """Take one sample; an error is noted."""
        try:
            self._look()
        except CallFailed as error:
            self._data["error"] = str(error)

    def _look(self) -> None:
        power, busy = self._nvml.power_mw(self._handle), self._nvml.utilisation(self._handle)
        if power is not None:
            self._powers_mw.append(power)
        if busy is not None:
            self._data["utilisation"] = max(busy, self._data["utilisation"] or 0)
        self._data["used_bytes"] = max(self._data["used_bytes"], self._nvml.used_bytes(self._handle))
        held = self._data["processes"]
        for process in self._nvml.processes(self._handle):
            pid, now = str(process["pid"]), process["bytes"]
            held[pid] = None if now is None else max(now, held.get(pid) or 0)

    def end(self) -> dict[str, Any]:
        """What the card did since the beginning; see :meth:`CardSamples.data`."""
        ended_mj = self._nvml.energy_mj(self._handle)
        energy_mj = None if self._began_mj is None or ended_mj is None else ended_mj - self._began_mj
        mean_mw = sum(self._powers_mw) / len(self._powers_mw) if self._powers_mw else None
        return {
            **self._data,
            "energy_j": None if energy_mj is None else round(energy_mj / 1000, 3),
            "power_w": None if mean_mw is None else round(mean_mw / 1000, 3),
        }


class CardSamples:
    """Samples every card from ``__enter__`` to ``__exit__``; without NVML there is only the span's length."""

    def __init__(self, nvml: Nvml | None) -> None:
        handles = nvml.handles() if nvml else []
        self._cards = {nvml.uuid(one): CardSample(nvml, one) for one in handles} if nvml else {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._started = self._seconds = 0.0
        self._data: dict[str, dict[str, Any]] = {}

    def __enter__(self) -> CardSamples:
        self._started = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()
        self._seconds = time.monotonic() - self._started
        self._data = {uuid: card.end() for uuid, card in self._cards.items()}

    def data(self) -> dict[str, Any]:
        """The span's ``seconds``, and its ``cards`` by UUID.

        Of each: ``energy_j`` (None without a counter), mean ``power_w`` (polled), highest ``utilisation``,
        most memory by process (``processes``: pid as text → bytes or None), ``used_bytes``, ``error``.
        """
        return {"seconds": round(self._seconds, 3), "cards": self._data}

    def _sample(self) -> None:
        while True:
            for card in self._cards.values():
                card.look()
            if self._ended.wait(PERIOD_S):
                return
