# SPDX-License-Identifier: Apache-2.0
"""By default a graph talks on this machine only: its sockets are on loopback, another host sees and calls nothing."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from graph_probe import GraphProbe

from physgen_bringup.paths import config_file
from physgen_control.types import SafetyState

pytest.importorskip("rclpy", reason="rclpy is not installed")

pytestmark = pytest.mark.ros

DOMAIN = 49
NEAR, FAR = "10.213.77.1", "10.213.77.2"
LOCALHOST = {
    "ROS_DOMAIN_ID": str(DOMAIN),
    "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
    "FASTRTPS_DEFAULT_PROFILES_FILE": str(config_file("fastdds.xml")),
    "FASTDDS_DEFAULT_PROFILES_FILE": str(config_file("fastdds.xml")),
}
# What a stranger does: no profile of ours, the host named as a static peer. Says what it saw and could call.
STRANGER = """
import time
import rclpy
from std_srvs.srv import Trigger
rclpy.init()
node = rclpy.create_node("stranger")
client = node.create_client(Trigger, "/physgen/hold")
end = time.monotonic() + 15.0
while time.monotonic() < end and not client.service_is_ready():
    rclpy.spin_once(node, timeout_sec=0.1)
names = [name for name in node.get_node_names() if name != "stranger"]
print("saw", names, client.service_is_ready(), flush=True)
"""


@pytest.fixture
def controller(request):
    environment = {**os.environ, **LOCALHOST, **getattr(request, "param", {})}
    process = subprocess.Popen(
        [sys.executable, "-m", "physgen_control.nodes.controller_node"], env=environment
    )
    yield process
    process.terminate()
    process.wait(20)


def first_ephemeral_port() -> int:
    return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])


def listening(pid: int) -> set[str]:
    """Addresses of the UDP sockets at fixed ports; those at ephemeral ports only send."""
    sockets = psutil.Process(pid).net_connections(kind="udp")
    return {socket.laddr.ip for socket in sockets if socket.laddr.port < first_ephemeral_port()}


def test_every_socket_that_listens_is_on_loopback(controller):
    wait_for_sockets(controller)
    with GraphProbe(DOMAIN) as probe:
        probe.wait_for(lambda: probe.safety, "a status over loopback", 30.0)
        assert probe.safety[-1].state == SafetyState.DISARMED
    assert listening(controller.pid) == {"127.0.0.1"}


def test_the_controller_shares_no_memory_that_another_process_could_lock(controller):
    """A process that stood still while it held that lock held up the controller until it went on."""
    wait_for_sockets(controller)
    with GraphProbe(DOMAIN) as probe:
        probe.wait_for(lambda: probe.safety, "a status without shared memory", 30.0)
    mapped = Path(f"/proc/{controller.pid}/maps").read_text()
    assert "/dev/shm/fastrtps" not in mapped and "/dev/shm/fastdds" not in mapped


def wait_for_sockets(process: Any) -> None:
    end = time.monotonic() + 30.0
    while not listening(process.pid):
        assert process.poll() is None and time.monotonic() < end, "no socket of the controller within 30 s"
        time.sleep(0.05)


def ip(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["ip", *words], capture_output=True, text=True, check=False)


@pytest.fixture
def second_host():
    """Another host: a network namespace with a cable to this one."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("a second host needs root and iproute2 (network namespaces)")
    name = f"physgen{os.getpid() % 10_000}"
    if ip("netns", "add", name).returncode != 0:
        pytest.skip("network namespaces are not allowed here")
    try:
        steps = (
            ("link", "add", f"{name}a", "type", "veth", "peer", "name", f"{name}b", "netns", name),
            ("addr", "add", f"{NEAR}/24", "dev", f"{name}a"),
            ("link", "set", f"{name}a", "up"),
            ("-n", name, "addr", "add", f"{FAR}/24", "dev", f"{name}b"),
            ("-n", name, "link", "set", f"{name}b", "up"),
            ("-n", name, "link", "set", "lo", "up"),
        )
        for words in steps:
            done = ip(*words)
            if done.returncode != 0:
                pytest.skip(f"no virtual cable here: {done.stderr.strip()}")
        yield name
    finally:
        ip("netns", "del", name)


def seen_from(host):
    """What a stranger on another host sees and can call; it shares neither memory nor profile with us."""
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith(("FASTRTPS", "FASTDDS"))},
        "ROS_DOMAIN_ID": str(DOMAIN),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET",
        "ROS_STATIC_PEERS": NEAR,
    }
    command = ["ip", "netns", "exec", host, "unshare", "--ipc", "--mount", sys.executable, "-c", STRANGER]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=90, check=False)
    assert "saw" in done.stdout, done.stderr
    return done.stdout.split("saw ", 1)[1].strip()


def test_another_host_sees_nothing_and_can_call_nothing(controller, second_host):
    wait_for_sockets(controller)
    assert seen_from(second_host) == "[] False"


NETWORK = str(config_file("fastdds_network.xml"))
PAGE = Path(__file__).parents[4] / "docs" / "real_robot" / "network.md"
RANGE = "ROS_AUTOMATIC_DISCOVERY_RANGE"
ADVISED = re.findall(rf"export {RANGE}=(\w+)", PAGE.read_text())


@pytest.mark.parametrize(
    "controller",
    [
        {
            RANGE: advised,
            "FASTRTPS_DEFAULT_PROFILES_FILE": NETWORK,
            "FASTDDS_DEFAULT_PROFILES_FILE": NETWORK,
        }
        for advised in ADVISED
    ],
    indirect=True,
)
def test_with_the_network_profile_another_host_is_heard(controller, second_host):
    """The counter-proof, set up as the page about networks says: a graph that is open to it is seen."""
    wait_for_sockets(controller)
    assert seen_from(second_host).endswith("True")
