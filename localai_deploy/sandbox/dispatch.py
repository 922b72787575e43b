"""From a request to an answer: login, call, privileges, node, parameters, handler."""

from __future__ import annotations

from dataclasses import dataclass

from localai_deploy.sandbox.answers import ApiError
from localai_deploy.sandbox.auth import Identity
from localai_deploy.sandbox.authorization import Authorization
from localai_deploy.sandbox.calls import ENDPOINTS, find_call
from localai_deploy.sandbox.handlers import HANDLERS
from localai_deploy.sandbox.privileges import Anyone
from localai_deploy.sandbox.proxying import check_node
from localai_deploy.sandbox.site import Answer, Call, Site
from localai_deploy.sandbox.verification import verify

METHODS = ("GET", "POST", "PUT", "DELETE")


@dataclass(frozen=True)
class Request:
    """A request as it came in: path below /api2/json, values by name in order of arrival."""

    method: str
    path: str
    headers: dict[str, str]
    values: dict[str, list[str]]
    upload: bytes | None = None


def answer(site: Site, request: Request) -> Answer:
    """The data of the answer; raises ApiError."""
    if request.method not in METHODS:
        raise ApiError(501, f"method '{request.method}' not available", bare=True)
    who = _caller(site, request)
    found = find_call(request.method, request.path, site.cluster.release.major)
    if found is None:
        raise ApiError(501, f"Method '{request.method} {request.path}' not implemented", newline=False)
    endpoint, in_path = found
    given = request.values | {_key(name): [value] for name, value in in_path.items()}
    first = {name: values[-1] for name, values in given.items()}
    with site.cluster.lock:
        Authorization(site.permissions, who, first).decide(endpoint.check)
    if endpoint.proxied or "node" in in_path:
        check_node(site, in_path["node"])
    values = verify(given, endpoint.params, site.cluster.release)
    return HANDLERS[endpoint.key](Call(site, who, endpoint, values, request.upload))


def _key(name: str) -> str:
    return name.replace("_", "-") if "_" in name else name


def _caller(site: Site, request: Request) -> Identity:
    open_to_all = any(
        row.path == request.path and row.method == request.method and row.check == Anyone()
        for row in ENDPOINTS
    )
    if open_to_all:
        return Identity("")
    try:
        return site.authentication.identify(request.headers, request.method)
    except ApiError:
        site.pace.sleep(3)
        raise
