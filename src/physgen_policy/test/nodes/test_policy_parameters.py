# SPDX-License-Identifier: Apache-2.0
"""The node's parameters: one source for code, YAML and README."""

from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from physgen_control.program.parameter_field import ParameterError, coerce, field_table
from physgen_policy.nodes.policy_parameters import PolicyNodeConfig

PACKAGE = Path(__file__).resolve().parents[2]
SHIPPED = PACKAGE.parent / "physgen_bringup" / "config" / "policy.yaml"


def test_every_shipped_override_is_a_parameter_and_valid() -> None:
    """A key that nobody reads is a setting that silently does nothing."""
    values = yaml.safe_load(SHIPPED.read_text())["policy_node"]["ros__parameters"]
    entries = {entry.name: entry for entry in fields(PolicyNodeConfig)}
    assert set(values) <= set(entries)
    config = PolicyNodeConfig(**{name: coerce(entries[name], value) for name, value in values.items()})
    assert config.gate().step_period_ns == 50_000_000
    assert config.network().denoise_steps == 10


def test_readme_table_is_generated() -> None:
    """Regenerate with physgen_control.program.parameter_field.field_table(PolicyNodeConfig)."""
    assert field_table(PolicyNodeConfig) in (PACKAGE / "README.md").read_text()


@pytest.mark.parametrize(
    "others", [{"execution": "pipelined"}, {"execute_steps": 4}, {"policy": "module:Class"}]
)
def test_a_limit_of_surprise_that_could_never_act_is_refused(others: dict[str, object]) -> None:
    """Nothing is compared with a frame that is expected at another instant; a limit would only look like one."""
    assert PolicyNodeConfig(prediction_error_limit=50.0).imagines
    with pytest.raises(ParameterError, match="prediction_error_limit needs a checkpoint and whole chunks"):
        PolicyNodeConfig(prediction_error_limit=50.0, **others)  # type: ignore[arg-type]


def test_pipelined_lead_must_leave_something_to_execute() -> None:
    """Asking for the next chunk before the current one starts makes no sense; sync ignores the lead."""
    PolicyNodeConfig(execution="sync", execute_steps=2, lead_steps=3)
    with pytest.raises(ParameterError, match="lead_steps"):
        PolicyNodeConfig(execution="pipelined", execute_steps=2, lead_steps=3)
