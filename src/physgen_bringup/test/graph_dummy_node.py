# SPDX-License-Identifier: Apache-2.0
"""A process without ROS for the runner's tests: the first argument says what it does."""

import signal
import subprocess
import sys
import time
from pathlib import Path

signal.pthread_sigmask(
    signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGHUP)
)  # what a node does when it is loaded
ready = Path(sys.argv[2])
what = sys.argv[1]
if what == "stubborn":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if what == "parent":
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    ready.with_suffix(".child").write_text(str(child.pid))
if what in ("fail", "finish"):
    ready.write_text("ready")
if what == "fail":
    print("the cable is not plugged in")
    sys.exit(3)
if what == "finish":
    print("[INFO] [1.5] [runner]: all done")
    sys.exit(0)
try:
    ready.write_text("ready")  # from here on an interrupt is answered
    time.sleep(600)
except KeyboardInterrupt:
    with ready.with_name("order").open("a") as stream:
        stream.write(ready.name + "\n")
