"""API tokens of users."""

from __future__ import annotations

import uuid
from typing import Any

from localai_deploy.sandbox.answers import bad_parameters, died
from localai_deploy.sandbox.api.access import split_list
from localai_deploy.sandbox.permissions import missing_user
from localai_deploy.sandbox.site import Call, Handler
from localai_deploy.sandbox.state import Token, User

_FIELDS = ("privsep", "expire", "comment")


def _user(call: Call) -> User:
    user = call.cluster.users.get(call.values["userid"])
    if user is None:
        raise missing_user(call.values["userid"])
    return user


def _token(call: Call) -> Token:
    user = _user(call)
    token = user.tokens.get(call.values["tokenid"])
    if token is None:
        raise died(f"no such token '{call.values['tokenid']}' for user '{user.userid}'")
    return token


def _shown(token: Token) -> dict[str, Any]:
    shown: dict[str, Any] = {"privsep": token.privsep, "expire": token.expire}
    return shown | ({"comment": token.comment} if token.comment is not None else {})


def list_tokens(call: Call) -> list[dict[str, Any]]:
    """Answer GET /access/users/{userid}/token."""
    return [{"tokenid": name, **_shown(token)} for name, token in _user(call).tokens.items()]


def get_token(call: Call) -> dict[str, Any]:
    """Answer GET /access/users/{userid}/token/{tokenid}."""
    return _shown(_token(call))


def create_token(call: Call) -> dict[str, Any]:
    """Answer POST /access/users/{userid}/token/{tokenid}."""
    name = call.values["tokenid"]
    with call.cluster.lock:
        user = _user(call)
        if name in user.tokens:
            raise bad_parameters({"tokenid": "Token already exists."})
        given = {key: call.values[key] for key in _FIELDS if key in call.values}
        token = user.tokens[name] = Token(str(uuid.uuid4()), **given)
    info = {"privsep": 1} | given
    return {
        "full-tokenid": f"{user.userid}!{name}",
        "info": {key: str(value) for key, value in info.items()},
        "value": token.secret,
    }


def update_token(call: Call) -> dict[str, Any]:
    """Answer PUT /access/users/{userid}/token/{tokenid}."""
    with call.cluster.lock:
        token = _token(call)
        for key in _FIELDS:
            if key in call.values:
                setattr(token, key, call.values[key])
        if "comment" in split_list(call.values.get("delete")):
            token.comment = None
        if not call.values.get("regenerate"):
            return _shown(token)
        token.secret = str(uuid.uuid4())
        return _shown(token) | {"value": token.secret}


def delete_token(call: Call) -> None:
    """Answer DELETE /access/users/{userid}/token/{tokenid}."""
    with call.cluster.lock:
        _token(call)
        user, name = _user(call), call.values["tokenid"]
        del user.tokens[name]
        call.cluster.acl = [entry for entry in call.cluster.acl if entry.who != f"{user.userid}!{name}"]


HANDLERS: dict[str, Handler] = {
    "GET /access/users/{userid}/token": list_tokens,
    "GET /access/users/{userid}/token/{tokenid}": get_token,
    "POST /access/users/{userid}/token/{tokenid}": create_token,
    "PUT /access/users/{userid}/token/{tokenid}": update_token,
    "DELETE /access/users/{userid}/token/{tokenid}": delete_token,
}
