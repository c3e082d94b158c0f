# SPDX-License-Identifier: Apache-2.0
"""What the processes of a pool do in its tests: obey their job, a word."""

from __future__ import annotations

import os
import signal
import time
from multiprocessing.connection import Connection

from physgen_bringup.processes.process_pool import Done


def obey(connection: Connection) -> None:
    """`die`: by SIGKILL; `leave`: answer, then die; `hang`: for ever; `ask`: and answer what was answered."""
    while True:
        word: str = connection.recv()
        if word == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if word == "hang":
            time.sleep(3600)
        if word == "ask":
            connection.send("question")
            word = connection.recv()
        connection.send(Done((word, os.getpid())))
        if word == "leave":
            os.kill(os.getpid(), signal.SIGKILL)
