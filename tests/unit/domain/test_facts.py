"""Facts out of recorded looks at hosts: one folder of ``observed/`` is one case."""

from __future__ import annotations

import base64
import json
import random
from pathlib import Path

import pytest

from localai_deploy.domain.facts import CorruptRecord, HostFacts, Listener, ModelFact, OtherRuntime
from localai_deploy.domain.facts_parser import parse_facts
from localai_deploy.domain.listeners import kernel_listeners, socket_listeners
from localai_deploy.domain.observation_sections import decode_sections
from localai_deploy.domain.other_runtimes import Process, other_runtimes
from localai_deploy.errors import LocalaiError
from tests.lab.sections import encode_sections

CASES = sorted(path.parent for path in Path(__file__).parent.glob("observed/*/sections.json"))


def sections_of(case: str) -> dict[str, str]:
    path = Path(__file__).parent / "observed" / case / "sections.json"
    return dict(json.loads(path.read_text()))


def facts_of(case: str, **changes: str) -> HostFacts:
    return parse_facts(encode_sections({**sections_of(case), **changes}))


def test_there_are_cases() -> None:
    assert len(CASES) >= 8


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_recorded_look(case: Path) -> None:
    expected = json.loads((case / "facts.json").read_text())
    assert facts_of(case.name).to_data() == expected


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_round_trip_by_json(case: Path) -> None:
    facts = facts_of(case.name)
    assert HostFacts.from_data(json.loads(json.dumps(facts.to_data()))) == facts


def test_fields_with_defaults_may_be_absent() -> None:
    data = facts_of("debian13-clean").to_data()
    short = {key: data[key] for key in list(data)[:13]}
    facts = HostFacts.from_data(short)
    assert (facts.cpu_count, facts.listening, facts.unit.load_state) == (2, (), "not-found")


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(TypeError, match="colour"):
        HostFacts.from_data({**facts_of("debian13-clean").to_data(), "colour": "red"})


def test_a_deployed_host() -> None:
    facts = facts_of("debian13-deployed")
    assert facts.unit.running
    assert facts.unit.exec_path == "/opt/localai-deploy/envs/llama_cpp/bin/llama-server"
    assert facts.listener(8080).unit == "localai-llama-cpp.service"  # type: ignore[union-attr]
    assert facts.runtimes == ()
    assert [package.name for package in facts.installed_packages][-1] == "llama.cpp"
    assert facts.model("smollm2-135m-instruct-q4_1.gguf").size_bytes == 98_362_432  # type: ignore[union-attr]
    assert facts.files["/etc/localai-deploy/api-key"].sha256 == ""
    assert facts.files["/etc/localai-deploy/api-key"].mode == "0600"


def test_absent_and_corrupt_records_differ() -> None:
    assert facts_of("debian13-clean").deployment is None
    for text in ("", "{", "null", "[]", "7", "\x00", "[" * 100_000, '{"a":' * 100_000, "\ufeff{}"):
        assert isinstance(facts_of("debian13-clean", deployment=text).deployment, CorruptRecord), text[:9]


def test_a_record_cannot_look_corrupt_and_come_back_whole() -> None:
    facts = facts_of("debian13-clean", deployment='{"$corrupt": "no", "name": "box"}')
    assert facts.deployment == CorruptRecord("no")


def test_a_partial_download() -> None:
    facts = facts_of("debian13-clean", models="7 m.gguf.part\09 m.gguf.part.json\00 m.gguf.lock\0")
    assert facts.models == (ModelFact("m.gguf", partial_bytes=7),)


def test_a_record_without_its_model_counts_for_nothing() -> None:
    record = base64.b64encode(b'{"sha256": "aa"}').decode()
    name = base64.b64encode(b"m.gguf.json").decode()
    assert facts_of("debian13-clean", models="9 m.gguf.json\0", records=f"{name} {record}\n").models == ()


def test_what_steers_a_terminal_is_taken_out() -> None:
    facts = facts_of("debian13-clean", hostname="a\x1b[2Jb\n", os_release='PRETTY_NAME="\x07bell"\n')
    assert facts.hostname == "a\ufffd[2Jb"
    assert facts.os_pretty_name == "\ufffdbell"


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        (("/usr/bin/ollama", "serve"), "ollama"),
        (("ollama", "runner"), "ollama"),
        (("/root/llama.cpp/build/bin/llama-server", "-m"), "llama-server"),
        (("python3", "-m", "vllm.entrypoints.openai.api_server"), "vllm"),
        (("/usr/bin/python3.12", "/usr/local/bin/vllm", "serve"), "vllm"),
        (("VLLM::EngineCore",), "vllm"),
        (("python", "-u", "/srv/koboldcpp.py"), "koboldcpp"),
        (("/opt/lm-studio/lm-studio",), "lmstudio"),
        (("text-generation-launcher", "--model-id"), "text-generation-inference"),
        (("python3", "-m", "llama_cpp.server"), "llama-server"),
    ],
)
def test_other_runtimes_are_recognised(arguments: tuple[str, ...], kind: str) -> None:
    (found,) = other_runtimes([], [Process(7, "/usr/bin/x", arguments)], [])
    assert found.kind == kind
    assert found.evidence.startswith("process 7 ")


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("grep", "-r", "ollama"),
        ("vi", "/etc/ollama.conf"),
        ("journalctl", "-u", "ollama"),
        ("python3",),
        ("python3", "-m"),
        ("python3", "-c", "import vllm"),
        ("sh", "-c", "ollama serve"),
        ("ssh", "vllm"),
    ],
)
def test_innocent_processes_are_left_alone(arguments: tuple[str, ...]) -> None:
    assert other_runtimes([], [Process(7, "/usr/bin/x", arguments)], []) == ()


def test_our_own_server_is_no_other_runtime() -> None:
    ours = "/opt/localai-deploy/envs/llama_cpp/bin/llama-server"
    assert other_runtimes(["localai-llama-cpp.service"], [Process(7, ours, (ours,))], [ours]) == ()


def test_a_copy_of_llama_server_elsewhere_is_another_runtime() -> None:
    fake = "/opt/localai-deploy-not/llama-server"
    assert other_runtimes([], [Process(7, fake, (fake,))], []) == (
        OtherRuntime("llama-server", "process 7 llama-server"),
    )


def test_a_process_cannot_choose_its_unit_by_its_name() -> None:
    line = 'LISTEN 0 128 *:8080 *:* users:(("a",pid=1,fd=9",pid=666,fd=3),("b",pid=667,fd=3))\n'
    (listener,) = socket_listeners(line, "1 0::/system.slice/localai-llama-cpp.service\n")
    assert (listener.address, listener.port, listener.pid, listener.unit) == ("*", 8080, 667, "")


KERNEL_TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000   999        0 4711 1 0 100 0
   1: 09DF12C6:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 100 0
   2: 0100007F:9E99 0100007F:0016 01 00000000:00000000 02:000A7B1C 00000000     0        0 4713 2 0 20 4
  sl  local_address                         remote_address                        st
   0: 00000000000000000000000001000000:0016 00000000000000000000000000000000:0000 0A 00000000:00000000 \
00:00000000 00000000     0        0 4714 1 0 100 0
"""


def test_listeners_of_the_kernel() -> None:
    ours = "localai-llama-cpp.service\n/dev/null\nsocket:[4711]\nsocket:[99]\n"
    assert kernel_listeners(KERNEL_TABLE, ours) == (
        Listener("127.0.0.1", 8080, unit="localai-llama-cpp.service"),
        Listener("198.18.223.9", 8080),
        Listener("::1", 22),
    )
    assert {one.unit for one in kernel_listeners(KERNEL_TABLE)} == {""}
    assert kernel_listeners("nonsense\n 0: ZZ:10 00:00 0A x\n 0: 0:0 0:0 0A\n") == ()


def test_our_own_server_is_known_by_its_name_where_its_program_cannot_be_seen() -> None:
    ours = "/opt/localai-deploy/envs/llama_cpp/bin/llama-server"
    assert other_runtimes([], [Process(7, "", (ours, "--model"))], []) == ()
    (other,) = other_runtimes([], [Process(7, "", ("/usr/bin/llama-server",))], [])
    assert other.kind == "llama-server"


def test_noise_around_the_frame_is_skipped() -> None:
    framed = encode_sections(sections_of("debian13-clean"))
    assert parse_facts(f"Welcome\nuid MTAwMAo=\nend MQo=\n{framed}bye\nuid MTAwMAo=\n").is_root


@pytest.mark.parametrize(
    "output", ["", "\n", "begin MQo=\n", "end MQo=\n", "Permission denied", "begin MQo=\nuid"]
)
def test_a_look_that_was_cut_short_is_told(output: str) -> None:
    with pytest.raises(LocalaiError) as caught:
        parse_facts(output)
    assert caught.value.error_id == "host-unreadable"


def test_every_cut_is_noticed() -> None:
    output = encode_sections(sections_of("debian13-deployed"))
    for end in random.Random(1).sample(range(len(output) - 1), 300):
        with pytest.raises(LocalaiError, match="cut short"):
            decode_sections(output[:end])


def test_no_content_makes_another_section() -> None:
    dice = random.Random(2)
    pieces = [
        "\n",
        " ",
        "end MQo=",
        "begin MQo=",
        "uid MTAwMAo=",
        "\0",
        "=",
        "deployment ",
        "\r",
        "\x85",
        "\u2028",
    ]
    for _ in range(500):
        content = "".join(dice.choices([*pieces, "a", "ü"], k=dice.randrange(40)))
        sections = {"uid": "0\n", "deployment": content, "lock": content[::-1]}
        assert decode_sections(encode_sections(sections)) == sections


def test_broken_frames_raise_nothing_else() -> None:
    dice = random.Random(3)
    original = encode_sections(sections_of("debian13-deployed"))
    outcomes = set()
    for _ in range(500):
        text = list(original)
        for _ in range(dice.randrange(1, 6)):
            text[dice.randrange(len(text))] = chr(dice.choice([0, 10, 13, 32, 61, 65, 127, 255, 0x2028]))
        try:
            outcomes.add(type(parse_facts("".join(text))))
        except LocalaiError as error:
            outcomes.add(error.error_id)
    assert outcomes <= {HostFacts, "host-unreadable"}
    assert "host-unreadable" in outcomes


@pytest.mark.parametrize("name", sorted(sections_of("debian13-deployed")))
def test_any_content_of_any_section_is_survived(name: str) -> None:
    dice = random.Random(name)
    sections = sections_of("debian13-deployed")
    for _ in range(60):
        text = sections[name]
        start, length = dice.randrange(len(text) + 1), dice.randrange(30)
        junk = "".join(dice.choices('\0\n\t "=:{}[]()%-0123456789aZ/\u2028\ud7ff', k=dice.randrange(20)))
        mutated = {**sections, name: text[:start] + junk + text[start + length :]}
        facts = parse_facts(encode_sections(mutated))
        assert HostFacts.from_data(json.loads(json.dumps(facts.to_data()))) == facts


def test_missing_sections_are_survived() -> None:
    facts = parse_facts(encode_sections({}))
    assert (facts.is_root, facts.systemd_version, facts.python_version) == (False, 0, "")
