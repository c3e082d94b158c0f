# SPDX-License-Identifier: Apache-2.0
"""Where a recording goes while it is drawn: to a window, to pages for a browser, or into a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from physgen_bringup.graph.viewer_choice import has_display
from physgen_bringup.viewer.blueprint import APPLICATION
from physgen_bringup.viewer.window import Window, open_window, require_installed


@dataclass(slots=True)
class Sink:
    """A recording of the Rerun SDK with where it goes."""

    recording: Any
    said: str
    """Where it goes, a sentence for people."""
    window: Window | None = None
    file: Path | None = None

    @property
    def alive(self) -> bool:
        """Whether it can still be seen: a person may have closed the window."""
        return self.window is None or self.window.alive

    def show_layout(self, blueprint: Any) -> None:
        """Divide the window by a blueprint, also where the viewer remembers another one of an earlier run."""
        self.recording.send_blueprint(blueprint, make_active=True, make_default=True)

    def another(self, file: Path, name: str) -> Sink:
        """Return a sink for one more recording, in the same window; a file of its own where there is none."""
        if self.window is None:
            return _into_file(_recording(name), file, "")
        recording = _recording(name)
        recording.connect_grpc(self.window.url)
        return Sink(recording, self.said, window=self.window)

    def finish(self) -> None:
        """Hand over what is still on its way; the viewer stays."""
        self.recording.flush(timeout_sec=30.0)
        self.recording.disconnect()

    def close(self) -> None:
        """Hand over what is still on its way and end the viewer."""
        self.finish()
        if self.window is not None:
            self.window.close()


def open_sink(viewer: str, save_to: Path, environment: Mapping[str, str], *, name: str = "") -> Sink:
    """Open a viewer ("rerun", "rerun_web", or "file") for a new recording.

    Args:
        viewer: What to open; a window becomes a file where there is no display.
        save_to: That file.
        environment: Of this process.
        name: How the viewer lists the recording.

    Raises:
        UserError: The viewer is not installed or does not start.
    """
    require_installed()
    recording = _recording(name)
    if viewer == "file" or (viewer == "rerun" and not has_display(environment)):
        return _into_file(recording, save_to, "" if viewer == "file" else "there is no display; ")
    window = open_window(viewer, environment)
    recording.connect_grpc(window.url)
    return Sink(recording, window.page or "a window of Rerun", window=window)


def _recording(name: str) -> Any:
    import rerun as rr

    recording = rr.RecordingStream(APPLICATION)
    # The time is that of the graph; when a value was drawn says nothing.
    rr.set_log_time_enabled(False, recording)
    rr.set_log_tick_enabled(False, recording)
    if name:
        recording.send_recording_name(name)
    return recording


def _into_file(recording: Any, file: Path, why: str) -> Sink:
    file.parent.mkdir(parents=True, exist_ok=True)
    recording.save(file)
    return Sink(recording, f"{why}look at it later with: physgen view {file}", file=file)
