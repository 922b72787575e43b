"""From reference to exact file, with the real hub client against a double on loopback."""

from __future__ import annotations

import ast
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from localai_deploy.domain.mirrors import Mirrors
from localai_deploy.domain.reference import ModelFile, parse_model_reference
from localai_deploy.errors import InputError, LocalaiError
from localai_deploy.hub import client
from localai_deploy.hub.explanations import EXPLANATIONS
from localai_deploy.hub.resolve import resolve_model
from tests.unit.hub.hub_double import COMMIT, Hub
from tests.unit.hub.server import Fault, FaultServer
from tests.unit.hub.store import SCRIPT, gguf, sha256

HASH = "ab" * 32
FILES = {
    "model-Q4_K_M.gguf": (HASH, 4711),
    "model-Q8_0.gguf": ("cd" * 32, 9000),
    "sub/model-Q2_K.gguf": ("ef" * 32, 1000),
    "config.json": ("1" * 40, 99),
    "tiny.gguf": ("1" * 40, 99),
}
TOKEN = "hf_sentinelThatMustNotLeak"


@pytest.fixture
def hub():
    with Hub(files=dict(FILES)) as running:
        yield running


@pytest.fixture(autouse=True)
def _other_token(monkeypatch, tmp_path):
    """A token lies where the client would look for one."""
    cached = tmp_path / "token"
    cached.write_text("hf_cachedTokenOfTheUser")
    monkeypatch.setenv("HF_TOKEN_PATH", str(cached))
    monkeypatch.setenv("HF_TOKEN", "hf_environmentTokenOfTheUser")


def resolve(text, hub=None, *, token=None, trust=False):
    endpoint = hub.endpoint if hub else "https://hub.invalid"
    return resolve_model(
        parse_model_reference(text),
        mirrors=Mirrors(huggingface=endpoint),
        token=token,
        trust_first_download=trust,
    )


def refused(text, hub=None, **more):
    with pytest.raises(LocalaiError) as caught:
        resolve(text, hub, **more)
    assert caught.value.error_id in EXPLANATIONS
    return caught.value


@pytest.mark.parametrize("revision", ["", "@main", "@v1", f"@{COMMIT}"])
def test_hub_file_is_pinned_to_its_commit(hub, revision):
    text = f"hf:lab/model/model-Q4_K_M.gguf{revision}"
    assert resolve(text, hub) == ModelFile(
        reference=text,
        file_name="model-Q4_K_M.gguf",
        url=f"{hub.endpoint}/lab/model/resolve/{COMMIT}/model-Q4_K_M.gguf",
        sha256=HASH,
        size_bytes=4711,
        revision=COMMIT,
    )


def test_another_file_than_the_catalogue_says_is_refused(hub):
    reference = replace(parse_model_reference("hf:lab/model/model-Q4_K_M.gguf"), sha256="12" * 32)
    with pytest.raises(LocalaiError) as caught:
        resolve_model(
            reference, mirrors=Mirrors(huggingface=hub.endpoint), token=None, trust_first_download=True
        )
    assert caught.value.error_id == "model-hash-mismatch"
    assert "hf:lab/model/model-Q4_K_M.gguf" in caught.value.hint


def test_file_in_a_folder(hub):
    found = resolve("hf:lab/model/sub/model-Q2_K.gguf", hub)
    assert found.file_name == "model-Q2_K.gguf"
    assert found.url == f"{hub.endpoint}/lab/model/resolve/{COMMIT}/sub/model-Q2_K.gguf"


def test_one_request_and_nobody_else_is_told(hub):
    resolve("hf:lab/model/model-Q4_K_M.gguf", hub)
    assert [(method, path) for method, path, *_ in hub.seen] == [
        ("HEAD", "/lab/model/resolve/main/model-Q4_K_M.gguf")
    ]


def test_users_own_token_is_not_taken(hub):
    resolve("hf:lab/model/model-Q4_K_M.gguf", hub)
    assert hub.seen[0][2] == ""


def test_given_token_is_sent(hub):
    hub.token = TOKEN
    assert resolve("hf:lab/model/model-Q4_K_M.gguf", hub, token=TOKEN).sha256 == HASH
    assert hub.seen[0][2] == f"Bearer {TOKEN}"


def test_token_is_not_sent_over_plain_http_to_another_machine(hub, monkeypatch):
    hub.token = TOKEN
    monkeypatch.setattr(client, "may_carry_token", lambda _url: False)
    error = refused("hf:lab/model/model-Q4_K_M.gguf", hub, token=TOKEN)
    assert error.error_id == "model-gated"
    assert "plain http" in error.hint
    assert hub.seen[0][2] == ""


@pytest.mark.parametrize("token", [None, "hf_wrong"])
def test_gated(hub, token):
    hub.token = TOKEN
    error = refused("hf:lab/model/model-Q4_K_M.gguf", hub, token=token)
    assert error.error_id == "model-gated"
    assert "lab/model" in error.hint
    assert "hf_wrong" not in f"{error} {error.why} {error.hint}"


@pytest.mark.parametrize("status", [401, 403])
def test_token_refused_altogether(hub, status):
    hub.status = status
    assert refused("hf:lab/model/model-Q4_K_M.gguf", hub, token="hf_wrong").error_id in (
        "model-gated",
        "model-not-found",
    )


def test_missing_file_with_close_names(hub):
    error = refused("hf:lab/model/Model-q4_k_s.gguf", hub)
    assert error.error_id == "model-not-found"
    assert "has no file 'Model-q4_k_s.gguf'" in error.why
    assert error.hint.startswith("close to it: model-Q4_K_M.gguf")
    assert "config.json" not in error.hint


def test_missing_file_far_from_all_names(hub):
    error = refused("hf:lab/model/zzz.gguf", hub)
    assert error.hint == "it holds: model-Q4_K_M.gguf, model-Q8_0.gguf, sub/model-Q2_K.gguf, tiny.gguf"


def test_missing_repository(hub):
    error = refused("hf:lab/other/model.gguf", hub)
    assert error.error_id == "model-not-found"
    assert "lab/other" in error.why
    assert "HF_TOKEN" in error.hint


def test_missing_revision(hub):
    error = refused("hf:lab/model/model-Q4_K_M.gguf@v9", hub)
    assert error.error_id == "model-not-found"
    assert "'v9'" in error.why


def test_small_file_in_git_has_no_sha256(hub):
    assert refused("hf:lab/model/tiny.gguf", hub).error_id == "model-hash-unknown"


@pytest.mark.parametrize("header", ["X-Linked-Etag", "X-Repo-Commit"])
def test_mirror_that_drops_headers(hub, header):
    hub.without = (header,)
    assert refused("hf:lab/model/model-Q4_K_M.gguf", hub).error_id == "model-hash-unknown"


@pytest.mark.parametrize("status", [429, 500, 503])
def test_hub_in_trouble(hub, status):
    hub.status = status
    error = refused("hf:lab/model/model-Q4_K_M.gguf", hub)
    assert error.error_id == "hub-unreachable"
    assert hub.endpoint in str(error)


def test_hub_that_is_not_there(hub):
    hub.__exit__()
    assert refused("hf:lab/model/model-Q4_K_M.gguf", hub).error_id == "hub-unreachable"
    assert refused("hf:lab/model/model-Q4_K_M.gguf").error_id == "hub-unreachable"


def test_web_file_without_hash_names_both_ways():
    with pytest.raises(InputError) as caught:
        resolve("https://host.invalid/model.gguf")
    assert caught.value.error_id == "model-hash-missing"
    assert "#sha256=" in caught.value.hint
    assert "--trust-first-download" in caught.value.hint


CONTENT = gguf(5000)


@pytest.fixture
def web(certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    with FaultServer(CONTENT, tls=certificate) as running:
        yield running


def test_web_file_with_hash(web):
    text = f"{web.url()}#sha256={sha256(CONTENT)}"
    assert resolve(text) == ModelFile(
        reference=text,
        file_name="model.gguf",
        url=web.url(),
        sha256=sha256(CONTENT),
        size_bytes=5000,
    )
    assert web.seen[0].method == "HEAD"


def test_web_file_trusted(web):
    found = resolve(web.url(), trust=True, token=TOKEN)
    assert (found.sha256, found.trust_first_download) == ("", True)
    assert web.seen[0].authorization == ""


def test_trust_is_not_asked_for_when_the_hash_is_known(web):
    assert resolve(f"{web.url()}#sha256={HASH}", trust=True).trust_first_download is False


def test_web_server_without_head(web):
    web.faults.append(Fault(status=405))
    assert resolve(web.url(), trust=True).size_bytes == 5000
    assert [seen.range for seen in web.seen] == ["", "bytes=0-0"]


@pytest.mark.parametrize(
    ("status", "error_id"),
    [(404, "model-not-found"), (410, "model-not-found"), (403, "model-gated"), (500, "hub-unreachable")],
)
def test_web_server_that_refuses(web, status, error_id):
    web.always = Fault(status=status)
    assert refused(web.url(), trust=True).error_id == error_id


def test_web_server_that_redirects_within_https(web):
    web.faults.append(Fault(redirect="/there.gguf"))
    assert resolve(web.url(), trust=True).size_bytes == 5000
    assert [(seen.method, seen.path) for seen in web.seen][-1] == ("HEAD", "/there.gguf")


@pytest.mark.parametrize("target", ["http://127.0.0.1:9/x.gguf", "file:///etc/passwd"])
def test_web_server_that_redirects_elsewhere(web, target):
    web.always = Fault(redirect=target)
    assert refused(web.url(), trust=True).error_id in ("model-redirect-refused", "hub-unreachable")


def test_web_server_with_an_unknown_certificate(certificate):
    with FaultServer(CONTENT, tls=certificate) as web:
        assert refused(web.url(), trust=True).error_id == "model-tls-failed"
        assert web.seen == []


def test_web_server_that_is_not_there():
    assert refused("https://127.0.0.1:9/m.gguf", trust=True).error_id == "hub-unreachable"


def test_local_file(tmp_path, monkeypatch):
    (tmp_path / "model.gguf").write_bytes(CONTENT)
    monkeypatch.chdir(tmp_path)
    for text in ("file:model.gguf", f"file:{tmp_path}/model.gguf"):
        assert resolve(text) == ModelFile(
            reference=text,
            file_name="model.gguf",
            local_path=str(tmp_path / "model.gguf"),
            sha256=sha256(CONTENT),
            size_bytes=5000,
        )


def test_local_file_that_is_not_there(tmp_path):
    assert refused(f"file:{tmp_path}/none.gguf").error_id == "model-file-missing"
    (tmp_path / "folder.gguf").mkdir()
    assert refused(f"file:{tmp_path}/folder.gguf").error_id == "model-file-missing"


@pytest.mark.parametrize("content", [b"", b"<html></html>", b"version https://git-lfs.github.com/spec/v1\n"])
def test_local_file_of_another_kind(tmp_path, content):
    (tmp_path / "model.gguf").write_bytes(content)
    assert refused(f"file:{tmp_path}/model.gguf").error_id == "model-format-wrong"


def test_client_is_loaded_late():
    code = "import sys, localai_deploy.hub.resolve; sys.exit('huggingface_hub' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_only_one_module_imports_the_client():
    package = Path(client.__file__).parents[1]
    importers = [path.name for path in package.rglob("*.py") if "huggingface_hub" in imported(path)]
    assert importers == ["client.py"]


def imported(path):
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    return {name.partition(".")[0] for name in names}


def test_every_error_of_the_host_is_explained():
    tree = ast.parse(SCRIPT.read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    ids = {node.value for node in calls if isinstance(node.value, str) and node.value.startswith("model-")}
    assert len(ids) >= 13
    assert ids <= set(EXPLANATIONS)


def test_every_explanation_is_complete():
    for error_id, explanation in EXPLANATIONS.items():
        for text in (explanation.cause, explanation.detection, explanation.fix):
            assert text.endswith("."), error_id
        assert not explanation.title.endswith("."), error_id
