# SPDX-License-Identifier: Apache-2.0
"""Schedule values, solvers against diffusers' schedulers, and the model's samplers."""

from typing import Any, Literal

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler

from physgen_policy.model.batch import WindowBatch
from physgen_policy.model.frame_config import FrameConfig
from physgen_policy.model.physgen import PhysGen
from physgen_policy.model.schedule import cosine_schedule
from physgen_policy.sampling.actions import ActionDenoiser, sample_actions
from physgen_policy.sampling.frame import FrameSampler, sample_frame, tokens_per_step
from physgen_policy.sampling.solver import SOLVERS, SamplerConfig, ddim, ddpm, plan_steps, solve

SETTINGS = {
    "num_train_timesteps": 1000,
    "beta_schedule": "squaredcos_cap_v2",
    "steps_offset": 1,
    "timestep_spacing": "leading",
}


def eps(x: torch.Tensor, timestep: int) -> torch.Tensor:
    """A plausible noise prediction (of data around +-0.5), so that the iteration itself amplifies no rounding."""
    alpha = float(cosine_schedule().alphas_cumprod[timestep])
    clean = 0.5 * torch.tanh(x * alpha**0.5 / (1 - alpha + 0.1))
    return (x - alpha**0.5 * clean) / (1 - alpha) ** 0.5


def test_the_schedule_is_the_capped_cosine():
    """Same cumulative alphas as diffusers' squaredcos_cap_v2."""
    reference = DDPMScheduler(**SETTINGS).alphas_cumprod
    torch.testing.assert_close(cosine_schedule().alphas_cumprod, reference, rtol=1e-6, atol=0)


def test_velocity_and_noise_say_the_same():
    """The noise recovered from v is the noise that v was made of, at every level."""
    schedule, generator = cosine_schedule(), torch.Generator().manual_seed(0)
    clean, noise = torch.randn(2, 4, 7, generator=generator), torch.randn(2, 4, 7, generator=generator)
    for timestep in (0, 1, 500, 999):
        times = torch.full((2, 4), timestep)
        x, v = schedule.add_noise(clean, noise, times), schedule.velocity(clean, noise, times)
        torch.testing.assert_close(schedule.noise_from_velocity(x, v, timestep), noise, atol=1e-5, rtol=1e-5)


def test_25_timesteps_are_961_to_1():
    """Leading spacing with offset 1."""
    steps = cosine_schedule().sampling_timesteps(25)
    assert steps[:2] == [961, 921] and steps[-2:] == [41, 1] and len(steps) == 25


def test_impossible_step_counts_are_refused():
    """The sentence names the allowed range."""
    with pytest.raises(ValueError, match="1 to 1000, got 0"):
        cosine_schedule().sampling_timesteps(0)


@pytest.mark.parametrize("clip", [None, 1.2])
@pytest.mark.parametrize("steps", [4, 5, 10, 25, 100])
def test_ddim_equals_diffusers(steps, clip):
    """Deterministic DDIM, the final alpha is that of timestep 0."""
    scheduler = DDIMScheduler(
        **SETTINGS, set_alpha_to_one=False, clip_sample=clip is not None, clip_sample_range=clip or 1.0
    )
    scheduler.set_timesteps(steps)
    start = torch.randn(2, 24, 7, generator=torch.Generator().manual_seed(0))
    x = start
    for timestep in scheduler.timesteps:
        x = scheduler.step(eps(x, int(timestep)), timestep, x, eta=0.0).prev_sample
    ours = ddim(eps, start, cosine_schedule().sampling_timesteps(steps), cosine_schedule(), clip=clip)
    torch.testing.assert_close(ours, x, atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("clip", [None, 1.2])
@pytest.mark.parametrize("steps", [10, 100])
def test_ddpm_equals_diffusers(steps, clip):
    """Ancestral sampling with the same noise."""
    scheduler = DDPMScheduler(**SETTINGS, clip_sample=clip is not None, clip_sample_range=clip or 1.0)
    scheduler.set_timesteps(steps)
    start = torch.randn(2, 24, 7, generator=torch.Generator().manual_seed(0))
    x, generator = start, torch.Generator().manual_seed(1)
    for timestep in scheduler.timesteps:
        x = scheduler.step(eps(x, int(timestep)), timestep, x, generator=generator).prev_sample
    generator = torch.Generator().manual_seed(1)
    ours = ddpm(
        eps,
        start,
        cosine_schedule().sampling_timesteps(steps),
        cosine_schedule(),
        lambda _: torch.randn(2, 24, 7, generator=generator),
        clip=clip,
    )
    torch.testing.assert_close(ours, x, atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("steps", [4, 10, 25])
def test_dpm_solver_equals_diffusers(steps):
    """DPM-Solver++(2M) on our timesteps, with a first-order last step that lands on zero noise."""
    timesteps = cosine_schedule().sampling_timesteps(steps)
    scheduler = DPMSolverMultistepScheduler(
        num_train_timesteps=1000,
        beta_schedule="squaredcos_cap_v2",
        algorithm_type="dpmsolver++",
        solver_order=2,
        solver_type="midpoint",
        final_sigmas_type="zero",
        lower_order_final=True,
        euler_at_final=True,
    )
    scheduler.set_timesteps(timesteps=timesteps)
    start = torch.randn(2, 24, 7, generator=torch.Generator().manual_seed(0))
    x = start
    for timestep in scheduler.timesteps:
        x = scheduler.step(eps(x, int(timestep)), timestep, x).prev_sample
    plan = plan_steps("dpm", timesteps, cosine_schedule())
    torch.testing.assert_close(solve(eps, start, plan), x, atol=2e-5, rtol=2e-5)


def test_the_multistep_solver_needs_fewer_steps():
    """On a smooth problem ten multistep updates come nearer to a thousand small ones than ten of first order."""
    start = torch.randn(4, 24, 7, generator=torch.Generator().manual_seed(0))
    schedule = cosine_schedule()

    def sample(kind: Literal["ddim", "dpm"], steps: int) -> torch.Tensor:
        return solve(eps, start, plan_steps(kind, schedule.sampling_timesteps(steps), schedule))

    exact = sample("ddim", 1000)
    errors = {kind: float((sample(kind, 10) - exact).abs().mean()) for kind in ("ddim", "dpm")}
    assert errors["dpm"] < 0.7 * errors["ddim"]


def test_unknown_solvers_are_refused():
    """The sentence names the known ones."""
    with pytest.raises(ValueError, match='one of "ddim", "ddpm", "dpm", got \'euler\''):
        SamplerConfig(kind="euler")  # type: ignore[arg-type]  # what a file may say


def test_ddim_reaches_the_closed_form_of_a_gaussian():
    """For data N(0, s^2) the exact flow maps start x to a known multiple; error shrinks with the number of steps."""
    schedule, data_std = cosine_schedule(), 0.5
    alphas = schedule.alphas_cumprod.double()

    def exact_eps(x: torch.Tensor, timestep: int) -> torch.Tensor:
        alpha = float(alphas[timestep])
        return x * (1 - alpha) ** 0.5 / (alpha * data_std**2 + 1 - alpha)

    def spread(index: int) -> float:
        return float((alphas[index] * data_std**2 + 1 - alphas[index]).sqrt())

    errors = []
    for steps in (10, 20, 40):
        times = schedule.sampling_timesteps(steps)
        result = ddim(exact_eps, torch.ones(1), times, schedule)
        errors.append(abs(result.item() - spread(0) / spread(times[0])))
    assert errors[0] < 0.1 and errors[1] < 0.7 * errors[0] and errors[2] < 0.7 * errors[1]


@pytest.mark.parametrize(("tokens", "steps"), [(1440, 64), (128, 8), (16, 16), (7, 1), (60, 4)])
def test_every_token_is_generated_once(tokens, steps):
    """Counts are positive and add up."""
    counts = tokens_per_step(tokens, steps)
    assert sum(counts) == tokens and len(counts) == steps and min(counts) >= 1


def context_and_output(model: PhysGen, windows: WindowBatch) -> tuple[Any, Any]:
    context = model.start(model.text_tokens(windows.text_states, windows.text_lengths))
    return context, model.append(context, windows.latents[:, 0], None)


@torch.no_grad()
@pytest.mark.parametrize("kind", SOLVERS)
@pytest.mark.parametrize("settings", [{}, {"memory_frames": True}, {"attention": "causal_by_chunk"}])
def test_sampled_actions_are_bounded_and_reproducible(build_model, kind, settings):
    """Same seed, same actions; always inside the clip."""
    _, model, windows = build_model(**settings)
    _, out = context_and_output(model, windows)
    sampler = SamplerConfig(kind=kind, steps=5)

    def sample(seed: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        plan = windows.plan_actions[:, 0]
        return sample_actions(model, out.action_hidden, plan, sampler, generator, out.frame_hidden)

    assert sample(0).shape == (2, 3, 3, 7) and sample(0).abs().max() <= 1.2
    assert torch.equal(sample(0), sample(0)) and not torch.equal(sample(0), sample(1))


@torch.no_grad()
@pytest.mark.parametrize("kind", SOLVERS)
def test_several_samples_are_averaged(build_model, kind):
    """The mean of independent samples: its spread over seeds is a quarter for 16 of them (less than half is asked)."""
    _, model, windows = build_model()
    _, out = context_and_output(model, windows)
    memory, _ = model.action_memory(out.action_hidden, out.frame_hidden, None, None)

    def sample(samples: int, seed: int) -> torch.Tensor:
        sampler = SamplerConfig(kind=kind, steps=5, samples=samples)
        return ActionDenoiser(model.action_head, sampler).sample(memory, torch.Generator().manual_seed(seed))

    single = torch.stack([sample(1, seed) for seed in range(12)])
    mean = torch.stack([sample(16, seed) for seed in range(12)])
    assert mean.shape == single.shape and mean.std(0).mean() < single.std(0).mean() / 2


@torch.no_grad()
def test_the_samples_of_a_row_are_its_own(model, windows):
    """With one generator per row, a row's mean does not depend on the other rows."""
    _, out = context_and_output(model, windows)
    memory, _ = model.action_memory(out.action_hidden, out.frame_hidden, None, None)
    denoiser = ActionDenoiser(model.action_head, SamplerConfig(steps=3, samples=4))
    both = denoiser.sample(memory, [torch.Generator().manual_seed(seed) for seed in (1, 2)])
    alone = denoiser.sample(memory[1:], torch.Generator().manual_seed(2))
    torch.testing.assert_close(both[1:], alone, atol=1e-6, rtol=1e-6)


@torch.no_grad()
def test_a_masked_plan_is_no_plan(model, windows):
    """Rows whose plan is masked sample as if none had been given."""
    _, out = context_and_output(model, windows)

    def sample(plan: torch.Tensor | None, plan_mask: torch.Tensor | None = None) -> torch.Tensor:
        return sample_actions(
            model,
            out.action_hidden,
            plan,
            SamplerConfig(steps=3),
            torch.Generator().manual_seed(0),
            plan_mask=plan_mask,
        )

    plan = windows.plan_actions[:, 0]
    mixed, none, both = sample(plan, torch.tensor([True, False])), sample(None), sample(plan)
    torch.testing.assert_close(mixed[1], none[1], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(mixed[0], both[0], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(none[0], both[0])


@torch.no_grad()
def test_with_causal_chunks_the_first_does_not_depend_on_the_lookahead(build_model):
    """Changing the noisy lookahead leaves the noise predicted for the executed chunk alone."""
    _, model, windows = build_model(attention="causal_by_chunk")
    _, out = context_and_output(model, windows)
    kv = model.action_head.memory_kv(out.action_hidden)
    noisy, time = torch.randn(2, 1, 9, 7), torch.full((2, 1), 500)
    other = noisy.clone()
    other[:, :, 3:] += 1
    before, after = model.action_head(noisy, time, kv), model.action_head(other, time, kv)
    assert torch.equal(before[:, :, :3], after[:, :, :3]) and not torch.equal(
        before[:, :, 3:], after[:, :, 3:]
    )


@torch.no_grad()
def test_frames_can_be_imagined(model, windows):
    """A frame has the latent's shape, is finite and reproducible; without an anchor there is a sentence."""
    context, out = context_and_output(model, windows)

    def imagine(seed: int, temperature: float = 1.0) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        condition = model.frame_condition(context.anchor, out.frame_hidden)
        return sample_frame(
            model, condition, FrameSampler(ar_steps=4, denoise_steps=3, temperature=temperature), generator
        )

    assert imagine(0).shape == windows.latents[:, 0].shape and imagine(0).isfinite().all()
    assert torch.equal(imagine(0), imagine(0)) and not torch.equal(imagine(0), imagine(1))
    assert torch.equal(imagine(0, temperature=0.0), imagine(0, temperature=0.0))
    bare = model.start(model.text_tokens(windows.text_states, windows.text_lengths), with_anchor=False)
    with pytest.raises(ValueError, match="with_anchor=True"):
        model.frame_condition(bare.anchor, out.frame_hidden)


@torch.no_grad()
def test_the_mean_of_frames_needs_a_head_that_predicts_v(build_model):
    """One evaluation, nothing drawn; it is what samples scatter around. A head that predicts noise is refused."""
    _, model, windows = build_model(frames=FrameConfig(prediction="v"))
    context, out = context_and_output(model, windows)
    condition = model.frame_condition(context.anchor, out.frame_hidden)
    mean = FrameSampler(kind="mean")
    first, second = (
        sample_frame(model, condition, mean, torch.Generator().manual_seed(seed)) for seed in (0, 1)
    )
    assert torch.equal(first, second) and first.shape == windows.latents[:, 0].shape
    _, plain, _ = build_model()
    with pytest.raises(ValueError, match='use the frame sampler "sample"'):
        sample_frame(plain, condition, mean, torch.Generator())


@pytest.mark.parametrize(
    "words", [{"kind": "median"}, {"ar_steps": 0}, {"denoise_steps": 0}, {"temperature": -1.0}]
)
def test_impossible_frame_samplers_are_refused(words):
    """By name, before anything is computed."""
    with pytest.raises(ValueError, match="frame"):
        FrameSampler(**words)
