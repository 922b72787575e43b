"""The comparison of whole states, on plain folders in place of an overlay."""

from __future__ import annotations

import hashlib

import pytest

from tests.lab.state import Entry, Layers, difference, whole_state


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def layers(tmp_path):
    names = ("rootfs", "upper", "pristine", "image")
    for name in names:
        (tmp_path / name).mkdir()
    return Layers(*(tmp_path / name for name in names))


def put(root, path, text="x", mode=0o644):
    full = root / path
    full.parent.mkdir(parents=True, exist_ok=True)
    full.write_text(text)
    full.chmod(mode)


def change(layers, path, text="x", mode=0o644):
    for root in (layers.rootfs, layers.upper):
        put(root, path, text, mode)


def test_only_what_differs_from_image_and_seed(layers):
    put(layers.image, "etc/same")
    put(layers.image, "etc/other", "before")
    put(layers.pristine, "etc/hostname", "name")
    change(layers, "etc/same")
    change(layers, "etc/other", "after", mode=0o600)
    change(layers, "etc/hostname", "name")
    state = whole_state(layers)
    assert {path: (e.kind, e.mode, e.content) for path, e in state.items()} == {
        "/etc/other": ("file", 0o600, digest("after"))
    }


def test_new_folders_and_links_count(layers):
    change(layers, "opt/a/b")
    for root in (layers.rootfs, layers.upper):
        (root / "opt" / "link").symlink_to("a/b")
    state = whole_state(layers)
    assert {path: entry.kind for path, entry in state.items()} == {
        "/opt": "directory",
        "/opt/a": "directory",
        "/opt/a/b": "file",
        "/opt/link": "link",
    }
    assert state["/opt/link"].content == "a/b"


def test_a_file_in_place_of_a_folder_hides_what_was_in_it(layers):
    put(layers.image, "srv/data/deep/file")
    change(layers, "srv/data")
    state = whole_state(layers)
    assert state["/srv/data"].kind == "file"
    assert state["/srv/data/deep/file"] == Entry("absent", 0, 0, 0, "")


@pytest.mark.parametrize(
    "path",
    [
        "var/log/syslog",
        "var/lib/apt/lists/x",
        "tmp/deep/file",
        "usr/lib/python3/__pycache__/a.pyc",
        "root/.ansible/tmp/x",
        "etc/passwd-",
    ],
)
def test_volatile_paths_are_left_out(layers, path):
    change(layers, path)
    assert f"/{path}" not in whole_state(layers)


def test_random_content_is_left_out_but_not_its_mode(layers):
    change(layers, "etc/key", "secret", mode=0o600)
    entry = whole_state(layers, without_content=["/etc/key"])["/etc/key"]
    assert (entry.content, entry.mode) == ("", 0o600)


def test_difference_names_path_and_both_sides():
    one = Entry("file", 0o644, 0, 0, "a")
    two = one._replace(uid=1)
    assert difference({"/a": one}, {"/a": one}) == []
    assert difference({"/a": one, "/b": one}, {"/a": two}) == [f"/a: {one} / {two}", f"/b: {one} / None"]
