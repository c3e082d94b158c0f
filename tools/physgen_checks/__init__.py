# SPDX-License-Identifier: Apache-2.0
"""`./physgen test`: every check that continuous integration runs, in the environment that set-up made."""
