# SPDX-License-Identifier: Apache-2.0
"""One module per `physgen` subcommand, each with `main(arguments) -> int`."""
