# SPDX-License-Identifier: Apache-2.0
"""Eyes on a graph that runs or was recorded: values in, entities of the Rerun viewer out. No ROS."""
