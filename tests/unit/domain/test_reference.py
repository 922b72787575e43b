"""Model references: what is understood, what is refused, and with which id."""

from __future__ import annotations

import pytest

from localai_deploy.domain.reference import ModelReference, hub_url, parse_model_reference
from localai_deploy.errors import ExitCode, InputError

HASH = "0123456789abcdef" * 4
COMMIT = "c" * 40


@pytest.mark.parametrize(
    ("text", "repo", "path", "revision", "name"),
    [
        ("hf:org/repo/file.gguf", "org/repo", "file.gguf", "", "file.gguf"),
        ("hf:org/repo/deep/er/file.gguf", "org/repo", "deep/er/file.gguf", "", "file.gguf"),
        ("hf:org/repo/file.gguf@main", "org/repo", "file.gguf", "main", "file.gguf"),
        (f"hf:org/repo/file.gguf@{COMMIT}", "org/repo", "file.gguf", COMMIT, "file.gguf"),
        ("hf:org/repo/file.gguf@refs/pr/3", "org/repo", "file.gguf", "refs/pr/3", "file.gguf"),
        ("hf:O-rg/Re.po_1/Model-Q4_K_M.GGUF", "O-rg/Re.po_1", "Model-Q4_K_M.GGUF", "", "Model-Q4_K_M.GGUF"),
        ("hf:org/repo/model.safetensors", "org/repo", "model.safetensors", "", "model.safetensors"),
    ],
)
def test_hub_references(text, repo, path, revision, name):
    assert parse_model_reference(text) == ModelReference(
        text=text, scheme="hf", file_name=name, repo=repo, path=path, revision=revision
    )


@pytest.mark.parametrize(
    ("text", "url", "sha256", "name"),
    [
        ("https://host/file.gguf", "https://host/file.gguf", "", "file.gguf"),
        (f"https://host/file.gguf#sha256={HASH}", "https://host/file.gguf", HASH, "file.gguf"),
        ("https://host:8443/a/b/file.gguf?x=1", "https://host:8443/a/b/file.gguf?x=1", "", "file.gguf"),
        ("https://host/my%2Bfile.gguf", "https://host/my%2Bfile.gguf", "", "my+file.gguf"),
    ],
)
def test_web_references(text, url, sha256, name):
    assert parse_model_reference(text) == ModelReference(
        text=text, scheme="https", file_name=name, url=url, sha256=sha256
    )


@pytest.mark.parametrize(
    ("text", "path", "name"),
    [
        ("file:model.gguf", "model.gguf", "model.gguf"),
        ("file:./models/model.gguf", "./models/model.gguf", "model.gguf"),
        ("file:/srv/model.gguf", "/srv/model.gguf", "model.gguf"),
        ("file:///srv/model.gguf", "/srv/model.gguf", "model.gguf"),
        ("file:~/model.safetensors", "~/model.safetensors", "model.safetensors"),
    ],
)
def test_file_references(text, path, name):
    assert parse_model_reference(text) == ModelReference(text=text, scheme="file", file_name=name, path=path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "model.gguf",
        "org/repo/file.gguf",
        "ftp://host/file.gguf",
        "http://host/file.gguf",
        "hf:repo/file.gguf",
        "hf:org/repo/",
        "hf:org/repo/../../etc/file.gguf",
        "hf:org//file.gguf",
        "hf:org/repo/file.gguf@",
        "hf:org/repo/file.gguf@a b",
        "hf:org/repo/file.gguf@$(id)",
        "hf:org/re po/file.gguf",
        "hf:org/repo/fi;le.gguf",
        "hf:org/repo/.gguf",
        "https:///file.gguf",
        "https://host/",
        "https://host/a%2Ffile.gguf%00.gguf",
        "https://host/%2e%2e%2ffile.gguf",
        "https://user:secret@host/file.gguf",
        "https://host/file.gguf#sha256=ABC",
        f"https://host/file.gguf#sha256={HASH.upper()}",
        f"https://host/file.gguf#md5={HASH}",
        "https://[::1/file.gguf",
        "file:",
        "file:/srv/models/",
        "file:-rf.gguf",
        "file:a\nb.gguf",
    ],
)
def test_malformed_references(text):
    with pytest.raises(InputError) as caught:
        parse_model_reference(text)
    assert caught.value.error_id in ("model-reference-invalid", "model-format-unsafe")
    assert caught.value.exit_code is ExitCode.MALFORMED
    assert caught.value.hint


@pytest.mark.parametrize(
    "text",
    [
        "hf:org/repo/pytorch_model.bin",
        "hf:org/repo/model.pt",
        "https://host/model.pth",
        "https://host/model.ckpt?name=model.gguf",
        "file:/srv/model.pkl",
        "file:/srv/model.gguf.zip",
    ],
)
def test_formats_that_can_run_code(text):
    with pytest.raises(InputError) as caught:
        parse_model_reference(text)
    assert caught.value.error_id == "model-format-unsafe"


def test_secret_in_a_url_is_called_out():
    with pytest.raises(InputError, match="credentials do not belong in a URL"):
        parse_model_reference("https://user:secret@host/file.gguf")


def test_the_hubs_address_of_a_file_is_the_clients():
    from huggingface_hub import hf_hub_url

    reference = parse_model_reference("hf:org/repo/deep/er/file-1.2_x.gguf")
    theirs = hf_hub_url(
        reference.repo, reference.path, revision=COMMIT, endpoint="https://hub.example.org/hf"
    )
    assert hub_url("https://hub.example.org/hf", reference, COMMIT) == theirs
