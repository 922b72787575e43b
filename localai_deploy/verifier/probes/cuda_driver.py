"""CUDA's driver API alone (``libcuda.so.1``): a small kernel that must really compute, on each card.

Each of ``COUNT`` threads starts a linear congruential generator at its own seed and runs it ``ROUNDS`` times;
the host knows the value after ``ROUNDS`` steps in closed form, so every word of the answer is checked.
Functions: NVIDIA's CUDA driver API reference. The kernel is PTX for ``sm_50``, which every later card's
driver compiles.
"""

from __future__ import annotations

import array
import ctypes
import operator
import os
import time
import uuid
from typing import Any

from localai_deploy.verifier.probes.libraries import CallFailed, call, load, path_of

COUNT = 1 << 20
ROUNDS = 256
BLOCK = 256
FACTOR, INCREMENT, MASK = 1664525, 1013904223, 0xFFFFFFFF
COMPUTE_CAPABILITY_MAJOR, COMPUTE_CAPABILITY_MINOR = 75, 76
KERNEL = b"""
.version 6.0
.target sm_50
.address_size 64
.visible .entry generate(.param .u64 out, .param .u32 seed, .param .u32 count, .param .u32 rounds)
{
.reg .pred %p<3>;
.reg .b32 %r<9>;
.reg .b64 %rd<4>;
ld.param.u64 %rd1, [out];
ld.param.u32 %r1, [seed];
ld.param.u32 %r2, [count];
ld.param.u32 %r3, [rounds];
mov.u32 %r4, %ctaid.x;
mov.u32 %r5, %ntid.x;
mov.u32 %r6, %tid.x;
mad.lo.u32 %r7, %r4, %r5, %r6;
setp.ge.u32 %p1, %r7, %r2;
@%p1 bra DONE;
add.u32 %r8, %r7, %r1;
NEXT:
setp.eq.u32 %p2, %r3, 0;
@%p2 bra STORE;
mad.lo.u32 %r8, %r8, 1664525, 1013904223;
sub.u32 %r3, %r3, 1;
bra NEXT;
STORE:
cvta.to.global.u64 %rd2, %rd1;
mul.wide.u32 %rd3, %r7, 4;
add.u64 %rd2, %rd2, %rd3;
st.global.u32 [%rd2], %r8;
DONE:
ret;
}
"""


def read(names: list[str]) -> dict[str, Any]:
    """CUDA's version and, for each device, its identity and what its kernel computed."""
    found: dict[str, Any] = {"error": "", "version": "", "file": "", "devices": []}
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    os.environ["CUDA_CACHE_DISABLE"] = "1"
    try:
        library = load(names)
        found["file"] = path_of("libcuda.so")
        call(library, "cuInit", ctypes.c_uint(0))
        version, count = ctypes.c_int(), ctypes.c_int()
        call(library, "cuDriverGetVersion", ctypes.byref(version))
        call(library, "cuDeviceGetCount", ctypes.byref(count))
        found["version"] = f"{version.value // 1000}.{version.value % 1000 // 10}"
        found["devices"] = [_device(library, ordinal) for ordinal in range(count.value)]
    except CallFailed as error:
        found["error"] = str(error)
    return found


def expected_words(seed: int, count: int, rounds: int) -> array.array[int]:
    """What each thread must give: ``a^n·x + c·(a^(n-1) + … + 1)`` modulo 2³²."""
    factor, increment = 1, 0
    for _ in range(rounds):
        factor, increment = factor * FACTOR & MASK, (increment * FACTOR + INCREMENT) & MASK
    return array.array("I", [(factor * (seed + index) + increment) & MASK for index in range(count)])


def _device(library: ctypes.CDLL, ordinal: int) -> dict[str, Any]:
    """A device's identity, and the kernel's answer on it."""
    device = ctypes.c_int()
    call(library, "cuDeviceGet", ctypes.byref(device), ctypes.c_int(ordinal))
    raw, total = (ctypes.c_ubyte * 16)(), ctypes.c_size_t()
    call(library, "cuDeviceGetUuid", raw, device)
    call(library, "cuDeviceTotalMem_v2", ctypes.byref(total), device)
    address, name = ctypes.create_string_buffer(32), ctypes.create_string_buffer(96)
    call(library, "cuDeviceGetPCIBusId", address, ctypes.c_int(32), device)
    call(library, "cuDeviceGetName", name, ctypes.c_int(96), device)
    return {
        "uuid": f"GPU-{uuid.UUID(bytes=bytes(raw))}",
        "pci": address.value.decode("ascii", "replace").lower(),
        "name": name.value.decode("utf-8", "replace"),
        "compute_capability": ".".join(
            str(_attribute(library, one, device))
            for one in (COMPUTE_CAPABILITY_MAJOR, COMPUTE_CAPABILITY_MINOR)
        ),
        "memory_bytes": total.value,
        "kernel": _run_kernel(library, device),
    }


def _attribute(library: ctypes.CDLL, number: int, device: ctypes.c_int) -> int:
    value = ctypes.c_int()
    call(library, "cuDeviceGetAttribute", ctypes.byref(value), ctypes.c_int(number), device)
    return value.value


def _run_kernel(library: ctypes.CDLL, device: ctypes.c_int) -> dict[str, Any]:
    """How many words came back, how many of them are wrong, and how long it took with the compilation."""
    seed = int.from_bytes(os.urandom(4), "little")
    started = time.monotonic()
    try:
        words = _compute(library, device, seed)
    except CallFailed as error:
        return {"error": str(error), "words": 0, "wrong": 0, "seed": seed, "seconds": 0.0}
    seconds = round(time.monotonic() - started, 3)
    wanted = expected_words(seed, COUNT, ROUNDS)
    wrong = sum(map(operator.ne, words, wanted))
    return {"error": "", "words": len(words), "wrong": wrong, "seed": seed, "seconds": seconds}


def _compute(library: ctypes.CDLL, device: ctypes.c_int, seed: int) -> array.array[int]:
    """The kernel's words, copied back; CallFailed when any step fails."""
    context, module, function, memory = (ctypes.c_void_p() for _ in range(4))
    call(library, "cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
    try:
        call(library, "cuCtxSetCurrent", context)
        call(library, "cuModuleLoadData", ctypes.byref(module), ctypes.c_char_p(KERNEL))
        call(library, "cuModuleGetFunction", ctypes.byref(function), module, ctypes.c_char_p(b"generate"))
        call(library, "cuMemAlloc_v2", ctypes.byref(memory), ctypes.c_size_t(4 * COUNT))
        _launch(library, function, [memory, *(ctypes.c_uint(one) for one in (seed, COUNT, ROUNDS))])
        words = (ctypes.c_uint * COUNT)()
        call(library, "cuMemcpyDtoH_v2", words, memory, ctypes.c_size_t(4 * COUNT))
        call(library, "cuMemFree_v2", memory)
        return array.array("I", bytes(words))
    finally:
        call(library, "cuDevicePrimaryCtxRelease_v2", device)


def _launch(library: ctypes.CDLL, function: ctypes.c_void_p, arguments: list[Any]) -> None:
    """Run one grid of one-dimensional blocks to its end."""
    pointers = (ctypes.c_void_p * len(arguments))(
        *(ctypes.cast(ctypes.pointer(one), ctypes.c_void_p) for one in arguments)
    )
    sizes = [ctypes.c_uint(one) for one in (COUNT // BLOCK, 1, 1, BLOCK, 1, 1, 0)]
    nothing = ctypes.c_void_p()
    call(library, "cuLaunchKernel", function, *sizes, nothing, pointers, nothing)
    call(library, "cuCtxSynchronize")
