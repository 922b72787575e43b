"""The hub double, asked by the real client."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

huggingface_hub = pytest.importorskip("huggingface_hub")

from huggingface_hub import HfApi, errors, get_hf_file_metadata, hf_hub_download, hf_hub_url  # noqa: E402

from tests.lab.hub import GATED_TOKEN, HubFile, HubRepository, commit_of  # noqa: E402
from tests.lab.mirror import Mirror  # noqa: E402
from tests.lab.mirror_routes import MirrorContent  # noqa: E402

REPOSITORY = "org/some-GGUF"
GATED = "org/gated-GGUF"
BODY = b"GGUF" + bytes(1000)


@pytest.fixture
def endpoint(tmp_path, monkeypatch):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    path = tmp_path / "model.gguf"
    path.write_bytes(BODY)
    files = {"model.gguf": HubFile(path, hashlib.sha256(BODY).hexdigest())}
    repositories = {
        REPOSITORY: HubRepository(commit_of(REPOSITORY), files),
        GATED: HubRepository(commit_of(GATED), files, gated=True),
    }
    content = MirrorContent(tmp_path, (), tmp_path, tmp_path, hub=lambda: repositories)
    with Mirror(content) as mirror:
        yield f"{mirror.listen('127.0.0.1')}/hf"


def metadata(endpoint, repository=REPOSITORY, file="model.gguf", revision="main", token=False):
    url = hf_hub_url(repository, file, revision=revision, endpoint=endpoint)
    return get_hf_file_metadata(url, token=token, endpoint=endpoint)


def test_metadata_of_a_file(endpoint):
    found = metadata(endpoint)
    assert found.size == len(BODY)
    assert found.etag == hashlib.sha256(BODY).hexdigest()
    assert found.commit_hash == commit_of(REPOSITORY)
    assert metadata(endpoint, revision=commit_of(REPOSITORY)).commit_hash == found.commit_hash


def test_download(endpoint, tmp_path):
    path = hf_hub_download(
        REPOSITORY, "model.gguf", endpoint=endpoint, cache_dir=tmp_path / "cache", token=False
    )
    assert Path(path).read_bytes() == BODY


def test_facts_of_a_repository(endpoint):
    api = HfApi(endpoint, token=False)
    model = api.model_info(REPOSITORY)
    assert model.sha == commit_of(REPOSITORY)
    assert [sibling.rfilename for sibling in model.siblings] == ["model.gguf"]
    (file,) = api.list_repo_tree(REPOSITORY, recursive=True)
    assert (file.path, file.size, file.lfs.sha256) == (
        "model.gguf",
        len(BODY),
        hashlib.sha256(BODY).hexdigest(),
    )


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"repository": "org/none"}, errors.RepositoryNotFoundError),
        ({"file": "none.gguf"}, errors.RemoteEntryNotFoundError),
        ({"revision": "v9"}, errors.RevisionNotFoundError),
        ({"repository": GATED}, errors.GatedRepoError),
        ({"repository": GATED, "token": "hf_other"}, errors.GatedRepoError),
    ],
)
def test_refusals(endpoint, arguments, error):
    with pytest.raises(error):
        metadata(endpoint, **arguments)


def test_gated_repository_opens_with_its_token(endpoint):
    assert metadata(endpoint, repository=GATED, token=GATED_TOKEN).size == len(BODY)
