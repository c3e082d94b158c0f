# SPDX-License-Identifier: Apache-2.0
"""Set-up of the pip runtime: standard library only, because it runs before anything is installed."""
