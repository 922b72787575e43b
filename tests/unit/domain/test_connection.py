from __future__ import annotations

import shlex

import pytest

from localai_deploy.domain.connection import Connection, parse_destination
from localai_deploy.errors import ExitCode, InputError

FINGERPRINT = "SHA256:" + "A" * 43


@pytest.mark.parametrize(
    ("text", "user", "host"),
    [
        ("box", "", "box"),
        ("admin@box", "admin", "box"),
        ("admin@192.0.2.1", "admin", "192.0.2.1"),
        ("box.example.org", "", "box.example.org"),
        ("2001:db8::1", "", "2001:db8::1"),
        ("[2001:db8::1]", "", "2001:db8::1"),
        ("admin@fe80::1%eth0", "admin", "fe80::1%eth0"),
        ("my_alias", "", "my_alias"),
        ("jo.do+x-y_z@box", "jo.do+x-y_z", "box"),
    ],
)
def test_a_destination(text: str, user: str, host: str) -> None:
    connection = parse_destination(text)
    assert (connection.kind, connection.user, connection.destination) == ("ssh", user, host)
    assert connection.display == (f"{user}@{host}" if user else host)


def test_localhost_is_this_machine_unless_a_user_is_named() -> None:
    assert parse_destination("localhost").kind == "local"
    assert parse_destination("me@localhost").kind == "ssh"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@",
        "@box",
        "user@",
        "box;id",
        "$(id)",
        "`id`",
        "box|sh",
        "box&",
        "box\nid",
        "box\x00",
        "a b",
        "box'",
        'box"',
        "box\\",
        "box*",
        "box?",
        "!box",
        "#box",
        "-oProxyCommand=id",
        "-l@box",
        "-x",
        "user;id@box",
        "us er@box",
        "..",
        ".box",
        "../box",
        "box/../../etc",
        "/etc",
        "ssh://box",
        "box,other",
        "box=1",
        "{{box}}",
        "--",
        "-",
        "a>b",
        "a/b",
        "a%b",
        "user@-oProxyCommand=id",
        "a@b@c",
        "ho\u0441t",
        "~",
        "a:22",
        "${HOME}",
        "box\n",
        "-oX@box",
        "b\u00fccher",
        "box\u200b",
        "x" * 254,
        "u" * 65 + "@box",
        ":",
        "::1;id",
        "fe80::1%;id",
    ],
)
def test_what_is_no_destination(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_destination(text)
    assert (caught.value.error_id, caught.value.exit_code) == ("host-name-invalid", ExitCode.MALFORMED)


@pytest.mark.parametrize("port", [-1, 65536])
def test_what_is_no_port(port: int) -> None:
    with pytest.raises(InputError, match="a port is 1 to 65535"):
        Connection("ssh", "box", port=port)


@pytest.mark.parametrize(
    "key",
    ["yes", "MD5:aa", FINGERPRINT[:-1], FINGERPRINT + "=", FINGERPRINT[:-1] + ";", "sha256:" + "A" * 43],
)
def test_what_is_no_fingerprint(key: str) -> None:
    with pytest.raises(InputError) as caught:
        Connection("ssh", "box", host_key=key)
    assert caught.value.error_id == "host-key-invalid"


def test_a_fingerprint() -> None:
    assert Connection("ssh", "box", host_key=FINGERPRINT).host_key == FINGERPRINT


@pytest.mark.parametrize(
    "words",
    [
        "-F none -o IdentitiesOnly=yes",
        "-oProxyJump=bastion -J a,b",
        "-J bastion -4 -vv -C",
        "-4Ao ForwardAgent=yes",
        '-o "ProxyCommand=nc -X connect %h %p"',
        "-i ~/.ssh/other -l lee -p 2222 -b 192.0.2.1",
    ],
)
def test_options_on_the_way_to_the_host(words: str) -> None:
    assert Connection("ssh", "box", ssh_args=tuple(shlex.split(words))).ssh_args


@pytest.mark.parametrize(
    "words",
    [
        "other-host",
        "-S /tmp/s",
        "-M",
        "-O exit",
        "-tt",
        "-f",
        "-N",
        "-W x:1",
        "-G",
        "--",
        "",
        "-o",
        "-4 x",
        "-vF",
    ],
)
def test_options_that_lead_elsewhere(words: str) -> None:
    with pytest.raises(InputError) as caught:
        Connection("ssh", "box", ssh_args=tuple(words.split(" ")))
    assert caught.value.error_id == "setting-invalid"
