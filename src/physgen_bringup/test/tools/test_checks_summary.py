# SPDX-License-Identifier: Apache-2.0
"""`./physgen test` runs pytest twice and ends with one summary."""

from __future__ import annotations

from physgen_checks.stages import merged_summary


def test_counts_and_times_add_up() -> None:
    lines = [
        "=== 2 failed, 1000 passed, 10 skipped, 1 warning, 1 error in 100.50s (0:01:40) ===\n",
        "= 700 passed, 11 skipped, 2 warnings in 600.10s (0:10:00) =\n",
    ]
    assert (
        merged_summary(lines) == "=== 2 failed, 1700 passed, 21 skipped, 3 warnings, 1 error in 700.60s ==="
    )


def test_one_summary_stays_as_it_is() -> None:
    assert merged_summary(["=== 1 passed in 1.00s ===\n"]) == "=== 1 passed in 1.00s ==="
