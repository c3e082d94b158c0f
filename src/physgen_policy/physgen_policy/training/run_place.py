# SPDX-License-Identifier: Apache-2.0
"""Where a run happens, the same for all of its steps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from physgen_policy.training.run_log import RunLog


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlace:
    """Where a run happens."""

    folder: Path
    """The run folder."""
    device: torch.device
    autocast_dtype: torch.dtype | None
    """Type of the run's mixed precision; None computes in fp32."""
    is_main: bool
    """Whether this process is the one that writes."""
    log: RunLog
    """Of this process."""
