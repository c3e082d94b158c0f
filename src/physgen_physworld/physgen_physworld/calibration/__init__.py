# SPDX-License-Identifier: Apache-2.0
"""Where the cameras are: found from recordings of a tag, kept in a file, read by the graph."""
