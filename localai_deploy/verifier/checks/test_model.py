"""The model's file: read to its last byte on the host."""

from __future__ import annotations

from collections.abc import Iterator

from localai_deploy.verifier.checking import Evidence, check, expect_none, skip
from localai_deploy.verifier.evidence import HostState, ModelDigests
from localai_deploy.verifier.expectations import Expected


@check("model-hash", "the served model is the file that was asked for, byte for byte")
def test_model_hash(state: HostState, digests: ModelDigests, expected: Expected, evidence: Evidence) -> None:
    wanted = known_hashes(state, expected)
    evidence.update(
        sha256={name: digests.sha256.get(path) for name, path in expected.model_paths.items()},
        size_bytes=digests.total_bytes,
        hashing_s=digests.seconds,
        taken_on_trust=sorted(name for name in wanted if not expected.model_sha256[name]),
    )
    expect_none([*hash_problems(wanted, digests, expected), *mapping_problems(state)])
    unknown = sorted(name for name, sha256 in wanted.items() if not sha256)
    if unknown:
        skip(f"no hash is known for {', '.join(unknown)}: neither its source nor its download recorded one")


def known_hashes(state: HostState, expected: Expected) -> dict[str, str]:
    """The inventory's hash, else the one that the host recorded with the first download; empty: unknown."""
    return {
        name: sha256 or state.model_records.get(name, "") for name, sha256 in expected.model_sha256.items()
    }


def hash_problems(wanted: dict[str, str], digests: ModelDigests, expected: Expected) -> Iterator[str]:
    """Models that cannot be read, or are others."""
    for name, path in expected.model_paths.items():
        found = digests.sha256.get(path)
        if found is None:
            yield f"{path} cannot be read: {digests.errors.get(path, 'no hash came back')}"
        elif wanted[name] and found != wanted[name]:
            yield f"{path} has SHA-256 {found}, not {wanted[name]}"


def mapping_problems(state: HostState) -> Iterator[str]:
    """A model that was replaced on disk while the server goes on with the former file."""
    for path in state.mapped_models:
        if path.endswith(" (deleted)"):
            yield f"the service still serves {path}: the file was replaced since"
