"""The runtime's own dry run: how it is asked, and what it says."""

from __future__ import annotations

from localai_deploy.domain.fit.dry_run import Told, difference_text, dry_run_words, told_by
from localai_deploy.domain.fit.estimate import MIB, DeviceNeed
from localai_deploy.domain.fit.wish import Wish

PRINTED = """warning: something beside it
CUDA0 7401 814 517
Host 1280 0 154 
"""  # noqa: W291


def test_what_it_says() -> None:
    card = Told("CUDA0", 7401 * MIB, 814 * MIB, 517 * MIB)
    assert told_by(PRINTED) == (card, Told("Host", 1280 * MIB, 0, 154 * MIB))
    assert told_by("nothing of 7 8 MiB\n") == ()


def test_how_it_is_asked() -> None:
    words = dry_run_words("m.gguf", Wish(context=8192, parallel=2, cpu_expert_layers=3), 17)
    assert " ".join(words) == (
        "--model m.gguf -c 8192 -ngl 17 -ub 512 -np 2 -fa on -ctk f16 -ctv f16 --fit off --fit-print on "
        "--n-cpu-moe 3"
    )


def test_the_difference() -> None:
    need = DeviceNeed("gpu", "card", 7401 * MIB, 810 * MIB, 317 * MIB, 0, 0)
    told = difference_text(need, told_by(PRINTED)[0])
    assert told == "CUDA0: weights 7401 MiB (+0), cache 814 MiB (+4), compute 517 MiB (+200)"
