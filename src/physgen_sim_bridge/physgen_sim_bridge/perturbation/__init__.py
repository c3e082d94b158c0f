# SPDX-License-Identifier: Apache-2.0
"""Deliberate changes of a world, its pictures and its words, by category and level, from a frozen list of variants."""
