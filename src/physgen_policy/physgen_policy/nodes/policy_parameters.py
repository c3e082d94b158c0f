# SPDX-License-Identifier: Apache-2.0
"""Parameters of the policy node: the single source of their defaults, units and meanings."""

from __future__ import annotations

from dataclasses import dataclass

from physgen_control.program.parameter_field import ParameterError, parameter
from physgen_control.types import HORIZON
from physgen_policy.contract.observation import GateConfig
from physgen_policy.nodes.image_pairs import SYNCHRONIZERS
from physgen_policy.runtime.engine_options import CAPTURES, EngineOptions
from physgen_policy.runtime.pack_window import WindowPolicy
from physgen_policy.runtime.policy_config import PolicyConfig
from physgen_policy.sampling.frame import FRAME_CHOICES
from physgen_policy.sampling.solver import SOLVERS


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyNodeConfig:
    """What the policy node can be told. Read once at start."""

    policy: str = parameter(
        "",
        description="A policy of somebody's own: its name or module:Class; empty: that of a checkpoint.",
    )
    checkpoint: str = parameter(
        "", description="Checkpoint name or folder; empty: the one shipped for the task."
    )
    task: str = parameter(
        "", description="Environment id or suite/index that the graph runs; empty: not known."
    )
    robot: str = parameter(
        "", description="Robot that the graph runs, compared with the checkpoint's; empty: any."
    )
    device: str = parameter("auto", description="Where the networks run.", choices=("auto", "cpu", "cuda"))
    num_threads: int = parameter(
        1, description="CPU threads of the networks; 0: torch's default.", ge=0, le=256
    )
    dtype: str = parameter(
        "float32", description="Number format of the networks.", choices=("float32", "bfloat16")
    )
    sampler: str = parameter("ddim", description="Solver of the action head.", choices=SOLVERS)
    denoise_steps: int = parameter(10, description="Denoise steps of the action head.", ge=1, le=1000)
    action_samples: int = parameter(
        8, description="Chunks denoised from different noise; the mean is sent.", ge=1, le=256
    )
    window_policy: str = parameter(
        "recompute",
        description="At a full window: recompute the newest packs, restart empty, or (rotary models) evict the oldest.",
        choices=tuple(policy.value for policy in WindowPolicy),
    )
    use_cache: bool = parameter(True, description="Keep keys and values while the window grows.")
    split_attention: bool = parameter(
        True, description="Attend to the visible tokens alone instead of to all under a mask."
    )
    reuse_conditioning: bool = parameter(
        True, description="Compute what denoise steps share once instead of at every step."
    )
    capture: str = parameter(
        "auto",
        description="Denoise loop as a CUDA graph, or compiled; auto: graph on CUDA, off on a CPU.",
        choices=CAPTURES,
    )
    collapse_vae: bool = parameter(
        True, description="Encode images with 2-D convolutions where the frame autoencoder has 3-D ones."
    )
    channels_last: bool = parameter(True, description="Memory layout of the frame encoder.")
    cast_weights: bool = parameter(
        True, description="With bfloat16: store the weights in it instead of converting them at every use."
    )
    unload_text_encoder: bool = parameter(
        True, description="Free the text encoder once an instruction is encoded; another one loads it again."
    )
    use_plan: bool = parameter(False, description="Condition on the unexecuted part of the last prediction.")
    seed: int = parameter(
        0, description="Added to every episode's seed for the policy's random numbers.", ge=0
    )
    execute_steps: int = parameter(
        HORIZON, description="Actions of a chunk to run before the next observation.", ge=1, le=HORIZON
    )
    pace: str = parameter(
        "lockstep", description="Whether the world waits for the policy.", choices=("lockstep", "realtime")
    )
    execution: str = parameter(
        "sync",
        description="sync: observe after the chunk; pipelined: ask for the next one early.",
        choices=("sync", "pipelined"),
    )
    lead_steps: int = parameter(
        3, description="Pipelined: ask this many control steps before the chunk ends.", ge=1, le=HORIZON - 1
    )
    control_period: float = parameter(
        0.05, unit="s", description="Time between two actions.", ge=0.001, le=10.0
    )
    camera_reference: str = parameter(
        "",
        description="Picture of the demonstrations (PNG) with which the fixed camera is compared; empty: none.",
    )
    camera_limit: float = parameter(
        3.0,
        description="Largest shift of the fixed camera's view against it, in pixels of that picture.",
        ge=0.1,
        le=1000.0,
    )
    sync_slop: float = parameter(
        0.02,
        unit="s",
        description="Largest stamp difference of two images that belong together.",
        ge=0.0,
        le=1.0,
    )
    sync_queue: int = parameter(8, description="Images kept per camera.", ge=2, le=100)
    synchronizer: str = parameter(
        "auto",
        description="What pairs the images of the cameras; auto: message_filters where it is installed.",
        choices=SYNCHRONIZERS,
    )
    predict_frames: bool = parameter(
        False, description="Imagine the next frame after every chunk, not only when somebody subscribes."
    )
    prediction_error_limit: float = parameter(
        0.0,
        description="Levels of 255 by which the worst colours of the fixed view may differ from what was expected "
        "before the arm is asked to hold (`physgen bench anomaly` measures what is usual); 0: never. Above 0 frames "
        "are imagined.",
        ge=0.0,
        le=255.0,
    )
    frame_sampler: str = parameter(
        "auto",
        description="Imagined frames: their mean (sharp where the future is certain), or a sample; auto: the mean "
        "where the checkpoint has one.",
        choices=FRAME_CHOICES,
    )
    frame_ar_steps: int = parameter(8, description="Autoregressive steps of a sampled frame.", ge=1, le=256)
    frame_denoise_steps: int = parameter(10, description="Denoise steps of a sampled frame.", ge=1, le=1000)
    frame_temperature: float = parameter(
        1.0, description="Noise of a sampled frame; below 1 it comes closer to the mean.", ge=0.0, le=2.0
    )
    autostart: bool = parameter(True, description="Configure and activate without a lifecycle manager.")

    def __post_init__(self) -> None:
        if self.execution == "pipelined" and self.lead_steps >= self.execute_steps:
            raise ParameterError(
                f"lead_steps ({self.lead_steps}) must be smaller than execute_steps ({self.execute_steps})"
            )
        whole = self.execution == "sync" and self.execute_steps == HORIZON
        if self.prediction_error_limit > 0.0 and (self.policy or not whole):
            raise ParameterError(
                "prediction_error_limit needs a checkpoint and whole chunks (execution sync, execute_steps "
                f"{HORIZON}): a frame is expected at the end of a whole chunk, and nothing would ever be compared; "
                "set it to 0"
            )

    @property
    def imagines(self) -> bool:
        """Whether a frame is imagined after every chunk even where nobody looks."""
        return self.predict_frames or self.prediction_error_limit > 0.0

    @property
    def lockstep(self) -> bool:
        """Whether the world waits for every answer."""
        return self.pace == "lockstep"

    def gate(self) -> GateConfig:
        """Return how observations are chosen."""
        return GateConfig(
            step_period_ns=round(self.control_period * 1e9),
            execute_steps=self.execute_steps,
            lead_steps=self.lead_steps if self.execution == "pipelined" else 0,
            lockstep=self.lockstep,
            slop_ns=round(self.sync_slop * 1e9),
            queue_size=self.sync_queue,
        )

    def network(self) -> PolicyConfig:
        """How the checkpoint is run."""
        return PolicyConfig(
            sampler=next(kind for kind in SOLVERS if kind == self.sampler),
            denoise_steps=self.denoise_steps,
            action_samples=self.action_samples,
            window_policy=WindowPolicy(self.window_policy),
            engine=EngineOptions(
                use_cache=self.use_cache,
                split_attention=self.split_attention,
                reuse_conditioning=self.reuse_conditioning,
                capture=next(kind for kind in CAPTURES if kind == self.capture),
                collapse_vae=self.collapse_vae,
                channels_last=self.channels_last,
                cast_weights=self.cast_weights,
                unload_text_encoder=self.unload_text_encoder,
            ),
            use_plan=self.use_plan,
            execute_steps=self.execute_steps,
            num_threads=self.num_threads,
            dtype="bfloat16" if self.dtype == "bfloat16" else "float32",
            frame_sampler=next(kind for kind in FRAME_CHOICES if kind == self.frame_sampler),
            frame_ar_steps=self.frame_ar_steps,
            frame_denoise_steps=self.frame_denoise_steps,
            frame_temperature=self.frame_temperature,
            seed=self.seed,
        )
