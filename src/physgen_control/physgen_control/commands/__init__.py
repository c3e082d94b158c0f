# SPDX-License-Identifier: Apache-2.0
"""Commands of this package for the `physgen` entry point: each module has `main(arguments) -> exit code`."""
