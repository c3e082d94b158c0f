# SPDX-License-Identifier: Apache-2.0
"""Settings every package's tests share."""

from hypothesis import settings

# Timing belongs to benchmarks: a loaded machine must not fail a property test.
settings.register_profile("physgen", deadline=None)
settings.load_profile("physgen")
