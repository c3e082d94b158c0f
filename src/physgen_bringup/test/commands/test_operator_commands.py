# SPDX-License-Identifier: Apache-2.0
"""`physgen status`, `call` and `ros2` beside a running graph, and where none runs."""

import json
import time
from collections.abc import Callable, Iterator

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("physgen_msgs")

from physgen_bringup.commands import call, ros2, status
from physgen_bringup.graph.arguments import parse_arguments
from physgen_bringup.graph.checks import check_arguments
from physgen_bringup.graph.describe import build_graph
from physgen_bringup.graph.domain import VARIABLE, PrivateDomain
from physgen_bringup.nodes import graph_status, plain_messages
from physgen_bringup.processes.runner import LocalRunner
from physgen_control.errors import UserError
from physgen_control.program.plain_values import yaml_text

pytestmark = pytest.mark.ros

WORDS = ("sim:=fake", "policy:=expert", "rollout:=true", "pace:=realtime")


@pytest.fixture(scope="module")
def domain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The domain of a graph that waits for rollouts."""
    folder = tmp_path_factory.mktemp("graph")
    graph = build_graph(check_arguments(parse_arguments([*WORDS, f"output_dir:={folder}"])))
    with PrivateDomain() as domain, pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(domain))
        runner = LocalRunner(graph, domain_id=domain, console=lambda _: None)
        try:
            runner.start()
            end = time.monotonic() + 120
            while not all(getattr(seen := graph_status.look(), part) for part in ("safety", "policy")):
                assert time.monotonic() < end, seen
            yield domain
        finally:
            runner.stop()


def wait_for(condition: Callable[[graph_status.GraphStatus], bool]) -> None:
    """Look until the graph is so: on a busy machine a look may miss a node."""
    end = time.monotonic() + 60
    while not condition(seen := graph_status.look()):
        assert time.monotonic() < end, seen


@pytest.fixture(autouse=True)
def in_its_domain(domain: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(domain))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")  # without a ros2 that would take over


def test_status_shows_who_lives_and_the_safety_state(domain: int, capsys: pytest.CaptureFixture[str]) -> None:
    wait_for(lambda seen: {"controller", "policy"} <= set(seen.alive) and bool(seen.safety and seen.policy))
    assert status.main(["--json"]) == 0
    seen = json.loads(capsys.readouterr().out)
    assert seen["domain"] == domain
    assert set(seen["alive"]) <= {"controller", "policy", "world"} and seen["nodes"]
    assert seen["safety"].split(":")[0] in ("ARMED", "HOLD", "DISARMED", "SHADOW", "")


def test_an_operator_holds_and_arms(capsys: pytest.CaptureFixture[str]) -> None:
    """The answer is the controller's sentence, and the status shows what became of it."""
    assert call.main(["set_armed", "false"]) == 0
    capsys.readouterr()
    wait_for(lambda seen: seen.safety.startswith("DISARMED"))
    assert call.main(["set_armed", "true"]) == 0
    assert call.main(["hold"]) == 0
    wait_for(lambda seen: seen.safety.startswith("HOLD"))


def test_a_service_that_is_not_there_is_a_sentence() -> None:
    """The real arm's recovery, asked of a simulation."""
    with pytest.raises(UserError, match="nobody serves /physgen/home"):
        call.main(["home"])


@pytest.mark.parametrize("words", [["set_armed"], ["set_armed", "yes"], ["hold", "now"], ["dance"]])
def test_a_wrong_call_is_refused_before_anybody_is_asked(words: list[str]) -> None:
    with pytest.raises(SystemExit):
        call.main(words)


def test_ros2_looks_calls_and_reads_parameters(capsys: pytest.CaptureFixture[str]) -> None:
    def said(*words: str) -> str:
        assert ros2.main(list(words)) == 0
        return capsys.readouterr().out

    def says(sentence: str, *words: str) -> None:
        """On a busy machine a look may end before a node was found: it is taken again, for a minute."""
        end = time.monotonic() + 60
        last = ""
        while sentence not in last:
            assert time.monotonic() < end, last
            try:
                last = said(*words)
            except UserError as error:
                last = str(error)

    says("/controller_node\n", "node", "list")
    says("/physgen/safety_status [physgen_msgs/msg/SafetyStatus]", "node", "info", "controller_node")
    says("/physgen/hold [std_srvs/srv/Trigger]\n", "service", "list", "-t")
    says("/physgen/safety_status\n", "topic", "list")
    says("- /controller_node\n", "topic", "info", "/physgen/safety_status")
    assert "detail:" in said("topic", "echo", "/physgen/safety_status", "--once")
    assert "average rate:" in said("topic", "hz", "/physgen/heartbeat")
    answer = said("service", "call", "/physgen/set_armed", "std_srvs/srv/SetBool", "{data: false}")
    assert "success: true" in answer
    says("use_sim_time\n", "param", "list", "/controller_node")
    assert said("param", "get", "/controller_node", "use_sim_time").strip() in ("True", "False")
    assert ros2.main(["param", "set", "/controller_node", "no_such_parameter", "1"]) == 1


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["node", "info", "/nobody"], "there is no node /nobody"),
        (["topic", "echo", "/nothing"], "nobody writes or reads /nothing"),
        (["service", "call", "/physgen/hold", "std_srvs/srv/Nothing"], "there is no interface"),
        (
            ["service", "call", "/physgen/hold", "std_srvs/srv/SetBool", "{dato: 1}"],
            "there is no field 'dato'",
        ),
        (
            ["service", "call", "/physgen/hold", "std_srvs/srv/SetBool", "{data: soon}"],
            "data must be boolean",
        ),
        (["service", "call", "/physgen/hold", "std_srvs/srv/SetBool", "true"], "are a mapping"),
        (["param", "get", "/controller_node", "nothing"], "has no parameter 'nothing'"),
    ],
)
def test_what_ros2_cannot_do_is_a_sentence(words: list[str], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        ros2.main(words)


def test_no_graph_is_a_sentence_and_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with PrivateDomain() as free:
        monkeypatch.setenv(VARIABLE, str(free))
        assert status.main([]) == 1
    assert f"No graph runs in DDS domain {free}." in capsys.readouterr().out


def test_messages_become_plain_values_and_back() -> None:
    """Nested messages and arrays, the long ones cut."""
    pose_type = plain_messages.find_type("geometry_msgs/PoseStamped", "msg")
    values = {"header": {"frame_id": "base"}, "pose": {"position": {"x": 1, "y": 2.5}}}
    plain = plain_messages.to_plain(plain_messages.fill(pose_type(), values))
    assert plain["header"]["frame_id"] == "base"
    assert plain["pose"]["position"] == {"x": 1.0, "y": 2.5, "z": 0.0}
    image = plain_messages.find_type("sensor_msgs/msg/Image", "msg")(data=bytes(1000))
    assert plain_messages.to_plain(image)["data"][-1] == "... 1000 in all"


@pytest.mark.parametrize("kind", ["physgen_msgs/msg/AppliedAction", "sensor_msgs/msg/CameraInfo"])
def test_numbers_of_every_width_become_yaml(kind: str) -> None:
    """Also those that are not finite: fields of fixed length hold numpy's numbers."""
    message = plain_messages.find_type(kind, "msg")()
    for name, field in message.get_fields_and_field_types().items():
        if field.startswith(("float[", "double[")):
            getattr(message, name)[:] = float("nan")
    assert ".nan" in yaml_text(plain_messages.to_plain(message))
