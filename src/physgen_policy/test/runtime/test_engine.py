# SPDX-License-Identifier: Apache-2.0
"""Every switch of the inference engine: on and off give the same actions, and on does what it promises."""

import shutil
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from random_episode import EPISODE, observations, roll
from tiny_checkpoint import VIDEO_VAE, tiny_config, write_tiny_checkpoint

from physgen_control.errors import UserError
from physgen_policy.checkpoint import Checkpoint, CheckpointError, load_checkpoint
from physgen_policy.contract.embodiment_check import GraphDescription
from physgen_policy.model.mask import window_mask, window_segments
from physgen_policy.model.rotary import rotate, rotation
from physgen_policy.runtime.engine_options import EngineOptions
from physgen_policy.runtime.loading import load_policy
from physgen_policy.runtime.mailbox import Cancelled, CancelToken
from physgen_policy.runtime.pack_window import WindowPolicy
from physgen_policy.runtime.policy import STAGES, PhysGenPolicy
from physgen_policy.runtime.policy_config import PolicyConfig

SWITCHES = [field.name for field in fields(EngineOptions) if field.name != "capture"]


def switched(name: str, on: bool) -> dict[str, Any]:
    return {name: on}


TOLERANCE = 1e-5  # of actions in SI units of at most 0.01 m, 0.05 rad and a gripper of 1, fp32
SCALE = np.array([0.01, 0.01, 0.01, 0.05, 0.05, 0.05, 1.0])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    path = tmp_path_factory.mktemp("checkpoint") / "video"
    return write_tiny_checkpoint(path, model={"vae": VIDEO_VAE})


@pytest.fixture
def checkpoint(folder: Path) -> Checkpoint:
    return load_checkpoint(folder)


@pytest.fixture(scope="module")
def reference(folder: Path) -> list[np.ndarray]:
    """Seven chunks, past a full window, with everything off."""
    return roll(
        PhysGenPolicy(load_checkpoint(folder), PolicyConfig(engine=EngineOptions.all_off(), use_plan=True)), 7
    )


@pytest.mark.parametrize(
    "engine", [EngineOptions(), *(replace(EngineOptions(), **switched(name, False)) for name in SWITCHES)]
)
def test_switches_do_not_change_the_actions(checkpoint, reference, engine):
    """Everything on, and everything but one, against everything off."""
    chunks = roll(PhysGenPolicy(checkpoint, PolicyConfig(engine=engine, use_plan=True)), 7)
    for chunk, expected in zip(chunks, reference, strict=True):
        np.testing.assert_allclose(chunk, expected, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("name", SWITCHES)
def test_switches_do_not_change_the_actions_alone(checkpoint, reference, name):
    """Everything off but one."""
    config = PolicyConfig(engine=replace(EngineOptions.all_off(), **switched(name, True)), use_plan=True)
    for chunk, expected in zip(roll(PhysGenPolicy(checkpoint, config), 7), reference, strict=True):
        np.testing.assert_allclose(chunk, expected, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("sampler", ["ddpm", "dpm"])
def test_every_sampler_is_reused_exactly(checkpoint, sampler):
    """Fresh noise is drawn in the same order whether or not things are reused."""
    config = PolicyConfig(sampler=sampler, denoise_steps=4)
    fast = roll(PhysGenPolicy(checkpoint, config), 3)
    plain = roll(PhysGenPolicy(checkpoint, replace(config, engine=EngineOptions.all_off())), 3)
    np.testing.assert_allclose(np.stack(fast), np.stack(plain), atol=TOLERANCE, rtol=0)


@pytest.mark.slow
def test_the_compiled_head_gives_the_same_actions(checkpoint, reference):
    """torch.compile of one evaluation of the head."""
    config = PolicyConfig(engine=EngineOptions(capture="compile"), use_plan=True)
    for chunk, expected in zip(roll(PhysGenPolicy(checkpoint, config), 7), reference, strict=True):
        np.testing.assert_allclose(chunk, expected, atol=TOLERANCE, rtol=0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
def test_the_graph_gives_the_same_actions(folder, sampler):
    """Denoise loop and frame encoder as CUDA graphs, with and without a plan in the memory."""
    config = PolicyConfig(sampler=sampler, use_plan=True)
    graphed = roll(PhysGenPolicy(load_checkpoint(folder, "cuda"), config), 7)
    eager = replace(config, engine=EngineOptions(capture="off"))
    plain = roll(PhysGenPolicy(load_checkpoint(folder, "cuda"), eager), 7)
    np.testing.assert_allclose(np.stack(graphed) / SCALE, np.stack(plain) / SCALE, atol=1e-3, rtol=0)


def test_graphs_need_a_gpu(checkpoint):
    """A sentence, not a crash in the middle of an episode."""
    if checkpoint.model.action_head.position.device.type == "cpu":
        with pytest.raises(ValueError, match="needs a CUDA device"):
            PhysGenPolicy(checkpoint, PolicyConfig(engine=EngineOptions(capture="graph")))
    with pytest.raises(ValueError, match="capture must be one of"):
        EngineOptions(capture="always")  # type: ignore[arg-type]  # what a file may say


@pytest.mark.parametrize("reuse", [True, False])
def test_what_denoise_steps_share_is_computed_once(checkpoint, reuse):
    """Ten steps: the memory is projected once per layer and chunk, modulations once for all chunks; or ten times."""
    calls = {"cross_kv": 0, "modulation": 0}
    for block in checkpoint.model.action_head.blocks:
        for name in calls:
            module = getattr(block, name)
            module.register_forward_hook(lambda *_, name=name: calls.__setitem__(name, calls[name] + 1))
    policy = PhysGenPolicy(checkpoint, PolicyConfig(engine=EngineOptions(reuse_conditioning=reuse)))
    roll(policy, 3)
    layers = checkpoint.model.config.action.dit_depth
    assert calls["cross_kv"] == layers * 3 * (1 if reuse else 10)
    assert calls["modulation"] == layers * 10 * (1 if reuse else 3)


def test_frames_are_never_generated_on_the_way_to_actions(checkpoint):
    """Neither the image encoder nor the diffusion head nor the decoder runs until a frame is asked for."""
    ran = []
    parts = {
        "image_encoder": checkpoint.model.nova.image_encoder,
        "image_decoder": checkpoint.model.nova.image_decoder,
        "decoder": checkpoint.codec.vae.decoder,
    }
    for name, module in parts.items():
        module.register_forward_hook(lambda *_, name=name: ran.append(name))
    policy = PhysGenPolicy(checkpoint, PolicyConfig(frame_ar_steps=2, frame_denoise_steps=2))
    policy.warm_up()
    roll(policy, 7)
    assert ran == []
    policy.predict_frame()
    assert set(ran) == set(parts)


def test_the_text_encoder_runs_once_per_instruction_and_goes(folder):
    """Its memory is given back at the first episode; a new instruction reads it again and gives the same tokens."""
    kept = PhysGenPolicy(
        load_checkpoint(folder), PolicyConfig(engine=EngineOptions(unload_text_encoder=False))
    )
    policy = PhysGenPolicy(load_checkpoint(folder))
    runs = []
    policy.checkpoint.text_encoder.phi.register_forward_hook(lambda *_: runs.append(1))
    for p in (policy, kept):
        p.warm_up()
    warm_up_runs = len(runs)
    for p in (policy, kept):
        p.reset(EPISODE)
        p.reset(EPISODE)
    assert len(runs) == warm_up_runs + 1
    assert all(parameter.is_meta for parameter in policy.checkpoint.text_encoder.parameters())
    assert not any(parameter.is_meta for parameter in kept.checkpoint.text_encoder.parameters())
    first, second = observations(2)
    for p in (policy, kept):
        p.act(first, 0)
        p.set_instruction("stack the cube")
    np.testing.assert_array_equal(policy.act(second, 0).data, kept.act(second, 0).data)


def test_a_text_encoder_that_is_gone_is_a_sentence(folder, tmp_path):
    """The checkpoint's folder was removed while the policy was running."""
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    policy = PhysGenPolicy(load_checkpoint(copy))
    policy.reset(EPISODE)
    shutil.rmtree(copy)
    with pytest.raises(CheckpointError, match="there is no checkpoint folder"):
        policy.set_instruction("something new")


def test_bfloat16_weights_stay_close(folder, reference):
    """Stored in bfloat16 instead of converted at every use: mean error within a tenth of an action's range."""
    graph = GraphDescription(control_period=0.05, task="PushCube-v1", cameras=("fixed", "wrist"))
    policies = [
        load_policy(
            str(folder),
            graph,
            PolicyConfig(dtype="bfloat16", engine=EngineOptions(cast_weights=cast), use_plan=True),
        )
        for cast in (True, False)
    ]
    types = [{p.dtype for p in policy.checkpoint.model.parameters()} for policy in policies]
    assert types == [{torch.bfloat16}, {torch.float32}]
    for policy in policies:
        assert not any(p.dtype == torch.bfloat16 for p in policy.checkpoint.text_encoder.parameters())
        for chunk, expected in zip(roll(policy, 3), reference, strict=False):
            assert np.abs((chunk - expected) / SCALE).mean() < 0.1
        assert policy.predict_frame() is not None


def test_stages_are_reported_in_order(checkpoint):
    """What a benchmark listens to."""
    heard: list[str] = []
    policy = PhysGenPolicy(checkpoint, on_stage=heard.append)
    roll(policy, 2)
    assert tuple(heard) == STAGES * 2


@given(
    text=st.integers(0, 4), packs=st.integers(1, 4), frame=st.integers(1, 5), action=st.integers(1, 3),
    data=st.data(),
)  # fmt: skip
def test_segments_are_the_mask(text, packs, frame, action, data):
    """Written out as a matrix, the runs of rows are the window mask, for all rows and for the rows of late packs."""
    first = data.draw(st.one_of(st.none(), st.integers(0, packs - 1)))
    dense = window_mask(text, packs, frame, action, first_pack=first)
    written = torch.zeros_like(dense)
    covered = 0
    for run in window_segments(text, packs, frame, action, first_pack=first):
        assert run.start == covered
        written[run.start : run.stop, : run.keys] = True if run.mask is None else run.mask
        covered = run.stop
    assert covered == len(dense)
    assert torch.equal(written, dense)


class TestEviction:
    """window_policy rope_t."""

    @pytest.fixture
    def rotary(self, tmp_path: Path) -> Checkpoint:
        return load_checkpoint(write_tiny_checkpoint(tmp_path / "rotary", model={"rope": "rope_t"}))

    def test_it_needs_rotary_positions_and_the_cache(self, checkpoint, rotary):
        """Absolute positions cannot be turned back."""
        with pytest.raises(UserError, match="needs a checkpoint with rotary time positions"):
            PhysGenPolicy(checkpoint, PolicyConfig(window_policy=WindowPolicy.ROPE_T))
        engine = EngineOptions(use_cache=False)
        with pytest.raises(UserError, match="set use_cache to true"):
            PhysGenPolicy(rotary, PolicyConfig(window_policy=WindowPolicy.ROPE_T, engine=engine))

    def test_it_agrees_until_the_window_is_full_and_stays_near(self, rotary):
        """From the sixth chunk on it is an approximation of recomputing, better than starting again."""
        chunks = {
            policy: np.stack(roll(PhysGenPolicy(rotary, PolicyConfig(window_policy=policy)), 9)) / SCALE
            for policy in WindowPolicy
        }
        exact, evicted = chunks[WindowPolicy.RECOMPUTE], chunks[WindowPolicy.ROPE_T]
        np.testing.assert_array_equal(evicted[:5], exact[:5])
        error = np.abs(evicted[5:] - exact[5:]).mean()
        assert 0 < error < np.abs(chunks[WindowPolicy.RESTART][5:] - exact[5:]).mean()

    def test_it_is_exact_where_nothing_depends_on_what_left(self, tmp_path):
        """One layer and no absolute time: keys depend on their own token only, so turning them back is exact."""
        path = write_tiny_checkpoint(
            tmp_path / "shallow",
            model={"rope": "rope_t", "nova": shallow_nova()},
        )
        shallow = load_checkpoint(path)
        for parameter in shallow.model.nova.video_pos_embed.norm.parameters():
            parameter.zero_()
        rolls = [
            roll(PhysGenPolicy(shallow, PolicyConfig(window_policy=policy)), 9)
            for policy in (WindowPolicy.ROPE_T, WindowPolicy.RECOMPUTE)
        ]
        np.testing.assert_allclose(np.stack(rolls[0]), np.stack(rolls[1]), atol=TOLERANCE, rtol=0)

    def test_cancelled_evictions_leave_no_trace(self, rotary):
        """Bit for bit, although the evicted pack cannot be computed again."""

        class AtOnce(CancelToken):
            checks = 0

            def check(self) -> None:
                self.checks += 1
                if self.checks == 5:  # while the actions are denoised
                    self.cancel()
                super().check()

        config = PolicyConfig(window_policy=WindowPolicy.ROPE_T)
        expected = roll(PhysGenPolicy(rotary, config), 9)
        policy = PhysGenPolicy(rotary, config)
        policy.reset(EPISODE)
        for index, observation in enumerate(observations(9)):
            with pytest.raises(Cancelled):
                policy.act(observation, 0, AtOnce())
            np.testing.assert_array_equal(policy.act(observation, 0).data, expected[index])

    def test_turning_back_is_a_rotation_by_the_difference(self):
        """rotate(rotate(x, 3), -1) = rotate(x, 2)."""
        x = torch.randn(2, 1, 4, 16, dtype=torch.float64)

        def turn(value: torch.Tensor, by: float) -> torch.Tensor:
            return rotate(value, rotation(torch.full((4,), by), 16))

        torch.testing.assert_close(turn(turn(x, 3.0), -1.0), turn(x, 2.0), atol=1e-6, rtol=1e-6)


def shallow_nova() -> dict[str, Any]:
    return {**tiny_config().to_dict()["nova"], "video_depth": 1}
