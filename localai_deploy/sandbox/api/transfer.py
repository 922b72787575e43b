"""Files into storages: uploads, and downloads that the node makes."""

from __future__ import annotations

import hashlib
import re
import time
from pathlib import Path
from urllib.parse import urlsplit

from localai_deploy.sandbox.answers import bad_parameters, died
from localai_deploy.sandbox.fetching import Fetched, Refused, Unreachable
from localai_deploy.sandbox.site import Call, Handler
from localai_deploy.sandbox.state import Storage
from localai_deploy.sandbox.tasks import Task, TaskFailed
from localai_deploy.sandbox.volumes import add_volume, file_volume, path_of, real_file, storage_config

_EXTENSIONS = {
    "iso": (r"[^/]+\.(?:iso|img)", "wrong file extension"),
    "vztmpl": (r"[^/]+\.tar\.(?:gz|xz|zst)", "wrong file extension"),
    "import": (r"[A-Za-z0-9._+-]+\.(?:ova|ovf|qcow2|raw|vmdk)", "invalid filename or wrong extension"),
}


def _target(call: Call) -> tuple[Storage, str, str]:
    store = storage_config(call.site, call.values["storage"])
    content = call.values["content"]
    name = re.sub(r"[^a-zA-Z0-9_.-]", "_", re.sub(r"^.*[/\\]", "", call.values["filename"]))
    pattern, problem = _EXTENSIONS[content]
    if not re.fullmatch(pattern, name, re.IGNORECASE):
        raise bad_parameters({"filename": problem})
    if content not in store.content:
        raise died(f"storage '{store.name}' is not configured for content-type '{content}'")
    return store, content, name


def upload(call: Call) -> str:
    """Answer POST /nodes/{node}/storage/{storage}/upload."""
    store, content, name = _target(call)
    data = call.upload
    if data is None:
        raise bad_parameters({"tmpfilename": "property is missing and it is not optional"})
    expected = call.values.get("checksum")
    if expected is not None:
        got = hashlib.new(call.values["checksum-algorithm"], data).hexdigest()
        if got != expected.lower():
            raise died(f"checksum mismatch: got '{got}' != expect '{expected}'")
    volume = file_volume(call.site, store, content, name, len(data))

    def work(task: Task) -> None:
        target = path_of(store, volume.volid)
        source = f"/var/tmp/pveupload-{hashlib.md5(data, usedforsecurity=False).hexdigest()}"  # noqa: S108
        task.say(
            f"starting file import from: {source}\ntarget node: {call.values['node']}\ntarget file: {target}"
        )
        task.say(f"file size is: {len(data)}\ncommand: cp -- {source} {target}")
        if len(data) > store.avail or call.site.faults.hit(f"upload {volume.volid}", "storage-full"):
            task.say(f"cp: error writing '{target}': No space left on device")
            raise TaskFailed(f"import failed: command 'cp -- {source} {target}' failed: exit code 1")
        real_file(call.site, store, volume.volid).write_bytes(data)
        add_volume(call.site, volume)
        task.say("finished file import successfully")

    return call.task("imgcopy", "", work)


def download(call: Call) -> str:
    """Answer POST /nodes/{node}/storage/{storage}/download-url."""
    store, content, name = _target(call)
    volid, url = f"{store.name}:{content}/{name}", call.values["url"]
    path = path_of(store, volid)

    def work(task: Task) -> None:
        task.say(f"downloading {url} to {path}")
        if volid in call.cluster.volumes:
            _existing(call, task, volid, path)
            return
        temporary = f"{path}.tmp_dwnl.{task.pid}"
        file = real_file(call.site, store, volid)
        fetched = _fetch(call, task, url, temporary, file.with_name(f"{file.name}.tmp_dwnl.{task.pid}"))
        _check_sum(call, task, fetched)
        _check_image(task, name, fetched, temporary)
        volume = file_volume(call.site, store, content, name, fetched.size)
        volume.digests, volume.virtual_size = fetched.digests, fetched.virtual_size
        volume.file = str(Path(fetched.file).replace(file)) if fetched.file is not None else None
        add_volume(call.site, volume)
        task.say(f"download of '{url}' to '{path}' finished")

    return call.task("download", name, work)


def _existing(call: Call, task: Task, volid: str, path: str) -> None:
    expected = call.values.get("checksum")
    if expected is None:
        raise TaskFailed(f"refusing to override existing file '{path}'")
    task.say("calculating checksum of existing file...")
    volume = call.cluster.volumes[volid]
    got = Fetched(volume.size, file=volume.file, digests=volume.digests).digest(
        call.values["checksum-algorithm"]
    )
    if got != expected.lower():
        raise TaskFailed(f"checksum mismatch: got '{got}' != expect '{expected}', aborting")
    task.log[-1] += "OK, got correct file already, no need to download"


def _fetch(call: Call, task: Task, url: str, temporary: str, file: Path) -> Fetched:
    now, parts = time.strftime("%Y-%m-%d %H:%M:%S"), urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    task.say(f"--{now}--  {url}")
    try:
        fetched = call.site.fetch(url, str(file))
    except Unreachable as error:
        if "resol" not in str(error):
            task.say(f"Connecting to {host}:{port}... failed: {error}.")
            raise TaskFailed("download failed: exit code 4") from error
        task.say(f"Resolving {host} ({host})... failed: {error}.")
        raise TaskFailed(f"download failed: wget: unable to resolve host address '{host}'") from error
    except Refused as error:
        task.say(
            f"Connecting to {host}:{port}... connected.\nHTTP request sent, awaiting response... {error}"
        )
        status, _, reason = str(error).partition(" ")
        task.say(f"{now} ERROR {status}: {reason}.")
        raise TaskFailed("download failed: exit code 8") from error
    task.say(f"Connecting to {host}:{port}... connected.\nHTTP request sent, awaiting response... 200 OK")
    task.say(f"Length: {fetched.size} [{fetched.mime}]\nSaving to: '{temporary}'")
    task.say("     0K ..                                 100%  200M=0.01s")
    task.say(f"{now} (200 MB/s) - '{temporary}' saved [{fetched.size}/{fetched.size}]")
    return fetched


def _check_sum(call: Call, task: Task, fetched: Fetched) -> None:
    expected = call.values.get("checksum")
    if expected is None:
        return
    task.say("calculating checksum...")
    got = fetched.digest(call.values["checksum-algorithm"])
    if got != expected.lower():
        _discard(fetched)
        raise TaskFailed(f"checksum mismatch: got '{got}' != expect '{expected}'")
    task.log[-1] += "OK, checksum verified"


def _check_image(task: Task, name: str, fetched: Fetched, temporary: str) -> None:
    if not name.endswith(".qcow2") or fetched.is_image:
        return
    _discard(fetched)
    task.say(f"command '/usr/bin/qemu-img info '--output=json' {temporary} -f qcow2' failed: exit code 1")
    raise TaskFailed(
        f"failed to verify file: qemu-img: Could not open '{temporary}': Image is not in qcow2 format"
    )


def _discard(fetched: Fetched) -> None:
    if fetched.file is not None:
        Path(fetched.file).unlink(missing_ok=True)


HANDLERS: dict[str, Handler] = {
    "POST /nodes/{node}/storage/{storage}/upload": upload,
    "POST /nodes/{node}/storage/{storage}/download-url": download,
}
