# SPDX-License-Identifier: Apache-2.0
"""Subcommands of the physgen command that belong to the model: model-info and verify-golden."""
