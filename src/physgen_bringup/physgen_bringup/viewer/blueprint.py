# SPDX-License-Identifier: Apache-2.0
"""How the viewer's window is divided; the names of entities that both it and the scene use."""

from __future__ import annotations

from typing import Any

TIMELINE = "graph_time"
APPLICATION = "physgen"

WORLD = "world"
ROBOT = "robot"
"""Not below the world: its frames are named, and joined to the world by a transform."""
GRIPPER = "world/gripper"
PREDICTED = "world/predicted"
EXECUTED = "world/executed"
OBJECTS = "world/objects"
WORKSPACE = "world/workspace"
FIXED_IN_WORLD = "world/fixed_camera"
FIXED, WRIST = "cameras/fixed", "cameras/wrist"
IMAGINED = {"fixed": "predicted/fixed", "wrist": "predicted/wrist"}
WRONG = {"fixed": "predicted/wrong/fixed", "wrist": "predicted/wrong/wrist"}
SURPRISE = "prediction_error"
TRANSLATION, ROTATION, GRIPPER_PLOT = "actions/translation", "actions/rotation", "actions/gripper"
LATENCY = "latency"
STATES = "states"
STATUS, KEYS, EVENTS = "panel/status", "panel/keys", "panel/events"


def blueprint(*, keys: bool = False) -> Any:
    """Return the layout: cameras and predictions, the scene in 3-D, plots, states and texts.

    Args:
        keys: Show a person at a keyboard what each key does.
    """
    import rerun.blueprint as rrb

    texts = [
        rrb.TextDocumentView(origin=STATUS, name="status"),
        *([rrb.TextDocumentView(origin=KEYS, name="keys")] if keys else []),
        rrb.TextLogView(origin=EVENTS, name="events"),
    ]
    # Keys stay in sight; without them status and events share the place.
    panel = rrb.Vertical(*texts[:2], row_shares=[1, 1]) if keys else rrb.Tabs(*texts)
    pictures = rrb.Grid(
        rrb.Spatial2DView(origin=FIXED, name="fixed camera"),
        rrb.Spatial2DView(origin=IMAGINED["fixed"], name="predicted"),
        rrb.Spatial2DView(origin=WRONG["fixed"], name="wrong by"),
        rrb.Spatial2DView(origin=WRIST, name="wrist camera"),
        rrb.Spatial2DView(origin=IMAGINED["wrist"], name="predicted"),
        rrb.Spatial2DView(origin=WRONG["wrist"], name="wrong by"),
        grid_columns=3,
    )
    scene = rrb.Spatial3DView(
        origin=WORLD,
        contents=["$origin/**", f"/{ROBOT}/**"],
        name="arm, predicted and executed path",
        eye_controls=rrb.EyeControls3D(
            position=(1.75, -1.35, 1.05), look_target=(0.40, 0.0, 0.28), eye_up=(0.0, 0.0, 1.0)
        ),
    )
    # x is red, y green, z blue as in every 3-D view; faint is before safety, the outer red lines are limits.
    hidden = rrb.PlotLegend(visible=False)
    plots = rrb.Vertical(
        rrb.TimeSeriesView(origin=TRANSLATION, name="translation per step [mm]", plot_legend=hidden),
        rrb.TimeSeriesView(origin=ROTATION, name="rotation per step [mrad]", plot_legend=hidden),
        rrb.TimeSeriesView(origin=GRIPPER_PLOT, name="gripper (+1 open, -1 closed)", plot_legend=hidden),
        rrb.TimeSeriesView(origin=LATENCY, name="latency [ms]", plot_legend=rrb.Corner2D.LeftTop),
        rrb.TimeSeriesView(
            origin=SURPRISE, name="error of the expected frame [levels]", plot_legend=rrb.Corner2D.LeftTop
        ),
        row_shares=[3, 3, 2, 3, 2],
    )
    return rrb.Blueprint(
        rrb.Horizontal(
            rrb.Vertical(pictures, panel, row_shares=[3, 2]),
            rrb.Vertical(
                scene,
                rrb.StateTimelineView(origin=STATES, name="episode, safety, who commands"),
                row_shares=[5, 2],
            ),
            plots,
            column_shares=[4, 4, 3],
        ),
        rrb.TimePanel(timeline=TIMELINE, state="collapsed"),
        rrb.BlueprintPanel(state="collapsed"),
        rrb.SelectionPanel(state="collapsed"),
        auto_views=False,
    )
