"""Energy that cards have used since a moment: by their own counter, else by polled power added up."""

from __future__ import annotations

import ctypes
import threading
import time

from localai_deploy.verifier.probes.libraries import CallFailed
from localai_deploy.verifier.probes.nvml import Nvml

COUNTER, POLLING = "energy counter", "power polling"
PERIOD_S = 0.02


class EnergyMeter:
    """Joules by UUID; only differences between two reads mean something.

    Polling adds up power times the time since the last poll, so it sees no more than the sensor shows.
    """

    def __init__(self, nvml: Nvml | None) -> None:
        self._nvml = nvml
        handles = {nvml.uuid(one): one for one in nvml.handles()} if nvml else {}
        self._counted = {
            uuid: one for uuid, one in handles.items() if nvml and nvml.energy_mj(one) is not None
        }
        self._polled = {
            uuid: one
            for uuid, one in handles.items()
            if nvml and uuid not in self._counted and nvml.power_mw(one) is not None
        }
        self._joules = dict.fromkeys(self._polled, 0.0)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._poll, daemon=True)

    def __enter__(self) -> EnergyMeter:
        if self._polled:
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        if self._polled:
            self._thread.join()

    def methods(self) -> dict[str, str]:
        """How each card's energy is known."""
        return {**dict.fromkeys(self._counted, COUNTER), **dict.fromkeys(self._polled, POLLING)}

    def read(self) -> dict[str, float]:
        """Joules of each card whose energy can be known; CallFailed when a counter no longer answers."""
        return {**{uuid: self._count(one) for uuid, one in self._counted.items()}, **self._joules}

    def _count(self, handle: ctypes.c_void_p) -> float:
        energy_mj = self._nvml.energy_mj(handle) if self._nvml else None
        if energy_mj is None:
            raise CallFailed("the card's energy counter no longer answers")
        return energy_mj / 1000

    def _poll(self) -> None:
        last = time.monotonic()
        while not self._ended.wait(PERIOD_S):
            now = time.monotonic()
            for uuid, handle in self._polled.items():
                power_mw = self._nvml.power_mw(handle) if self._nvml else None
                self._joules[uuid] += (power_mw or 0) / 1000 * (now - last)
            last = now
