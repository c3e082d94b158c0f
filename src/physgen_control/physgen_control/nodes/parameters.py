# SPDX-License-Identifier: Apache-2.0
"""Turn a frozen configuration dataclass into typed, described, range-checked, read-only ROS parameters."""

from __future__ import annotations

from dataclasses import fields
from enum import Enum
from typing import Any, TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import (
    InvalidParameterTypeException,
    InvalidParameterValueException,
    ParameterUninitializedException,
)
from rclpy.node import Node

from physgen_control.program.parameter_field import (
    ParameterError,
    coerce,
    default_of,
    describe,
    field_table,
    range_text,
)

__all__ = ["ParameterError", "declare_from", "field_table"]

ConfigT = TypeVar("ConfigT")

_INT64_MAX = 2**63 - 1
_FLOAT_MAX = 1.7976931348623157e308


def declare_from(node: Node, config: type[ConfigT]) -> ConfigT:
    """Declare every field of `config` as a read-only parameter of `node` and return the filled instance.

    Args:
        node: The node that owns the parameters.
        config: A dataclass whose fields all have defaults (see `parameter_field.parameter`).

    Raises:
        ParameterError: One sentence about the first value that does not fit, or that `config` itself refuses.
    """
    values: dict[str, Any] = {}
    for entry in fields(config):  # type: ignore[arg-type]  # any dataclass type
        default = default_of(entry)
        ros_default = default.value if isinstance(default, Enum) else default
        ros_default = list(ros_default) if isinstance(ros_default, tuple) else ros_default
        descriptor = ParameterDescriptor(
            name=entry.name,
            description=describe(entry),
            additional_constraints=range_text(entry),
            read_only=True,
            # The type is checked by `coerce`, which accepts 20 for a float and says in words what is wrong.
            dynamic_typing=True,
        )
        low, high = entry.metadata.get("ge"), entry.metadata.get("le")
        if low is not None or high is not None:
            if type(default) is int:
                bounds = (
                    int(low) if low is not None else -_INT64_MAX,
                    int(high) if high is not None else _INT64_MAX,
                )
                descriptor.integer_range = [IntegerRange(from_value=bounds[0], to_value=bounds[1], step=0)]
            elif type(default) is float:
                span = (
                    float(low) if low is not None else -_FLOAT_MAX,
                    float(high) if high is not None else _FLOAT_MAX,
                )
                descriptor.floating_point_range = [
                    FloatingPointRange(from_value=span[0], to_value=span[1], step=0.0)
                ]
        try:
            value = node.declare_parameter(entry.name, ros_default, descriptor).value
        except InvalidParameterValueException as error:
            raise ParameterError(
                f"Parameter {entry.name!r} ({describe(entry)}) is out of range, allowed is {range_text(entry)}."
            ) from error
        except (InvalidParameterTypeException, ParameterUninitializedException) as error:
            raise ParameterError(f"Parameter {entry.name!r} has no usable value: {error}.") from error
        if value is None and isinstance(default, tuple):
            value = []  # an empty YAML list has no type in ROS
        values[entry.name] = coerce(entry, value)
    try:
        return config(**values)
    except ParameterError:
        raise
    except ValueError as error:
        raise ParameterError(str(error)) from error
