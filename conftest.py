# SPDX-License-Identifier: Apache-2.0
"""Settings every package's tests share."""

import os
import signal

from hypothesis import settings
from jaxtyping import install_import_hook

# Before torch is imported; children inherit them. Two cores are enough for every test.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")

# The shapes that annotations of the model's doors promise are checked at every call and for every batch.
install_import_hook(
    ["physgen_policy.model.batch", "physgen_policy.model.context", "physgen_policy.model.physgen"],
    "beartype.beartype",
)

# Timing belongs to benchmarks: a loaded machine must not fail a property test. The same examples are drawn every time.
settings.register_profile("physgen", deadline=None, derandomize=True)
settings.load_profile("physgen")

# Under nohup SIGHUP is ignored, and the programs that the tests start would inherit that. A handler is not inherited.
signal.signal(signal.SIGHUP, lambda *_: None)
