# SPDX-License-Identifier: Apache-2.0
"""Look at what was recorded: bags, or files that the viewer wrote, until the person has seen enough."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from physgen_bringup.viewer.blueprint import blueprint
from physgen_bringup.viewer.recorded import show_bag
from physgen_bringup.viewer.sink import Sink, open_sink
from physgen_control.bags.errors import BagError
from physgen_control.bags.summary import BagSummary
from physgen_control.errors import UserError


def look_at_bags(
    bags: Sequence[BagSummary], viewer: str, environment: Mapping[str, str], say: Callable[[str], None]
) -> int:
    """Draw each bag as a recording of its own and wait until the viewer is closed; returns the exit status.

    A bag that is damaged is named, and what could be read of it is shown.
    """
    sink: Sink | None = None
    for bag in bags:
        file = file_of(bag.path)
        if sink is None:
            sink = open_sink(viewer, file, environment, name=bag.path.name)
        else:
            sink = sink.another(file, bag.path.name)
        sink.show_layout(blueprint())
        try:
            left_out = show_bag(bag.path, bag, sink.recording)
            if left_out:
                say(f"{bag.path.name}: {left_out} messages could not be understood and are left out")
        except BagError as error:
            say(str(error))
        sink.finish()
        if sink.window is None:
            say(f"wrote {file}")
    if sink is not None:
        _wait(sink, say)
    return 0


def file_of(bag: Path) -> Path:
    """Return the viewer's file of a bag: NAME.rrd beside it; a name may have dots of its own."""
    bag = bag.resolve()
    return bag.with_name(f"{bag.name}.rrd")


def look_at_file(file: Path, viewer: str, environment: Mapping[str, str], say: Callable[[str], None]) -> int:
    """Open a file of the viewer and wait until it is closed; returns the exit status.

    Raises:
        UserError: There is no such file, or nothing to show it on.
    """
    if not file.is_file():
        raise UserError(f"{file} does not exist; give the .rrd file that a viewer wrote, or a bag")
    if viewer == "file":
        raise UserError(
            f"{file} is a file of the viewer already; look at it with --viewer rerun or rerun_web"
        )
    sink = open_sink(viewer, file.with_suffix(".none"), environment)
    if sink.window is None:
        sink.finish()
        file.with_suffix(".none").unlink(missing_ok=True)
        raise UserError(
            f"there is no display for a window; `physgen view {file} --viewer rerun_web` serves pages"
        )
    sink.recording.log_file_from_path(file)
    sink.finish()
    _wait(sink, say)
    return 0


def _wait(sink: Sink, say: Callable[[str], None]) -> None:
    """Wait until the window is closed, or for Ctrl-C where only pages are served."""
    window = sink.window
    if window is None:
        return
    say(f"Viewer: {sink.said}" + (" (Ctrl-C ends it)" if window.page else ""))
    try:
        while window.alive:
            time.sleep(0.2)
    except KeyboardInterrupt:
        pass
    finally:
        window.close()
