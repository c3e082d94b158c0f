#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Sources ROS, the arm's packages where the image has them, and ours; then becomes the command.
# shellcheck disable=SC1091  # what is sourced lies in the image
set -e
source /opt/ros/jazzy/setup.bash
if [[ -n "${PHYSGEN_UNDERLAY:-}" && -f "$PHYSGEN_UNDERLAY/local_setup.bash" ]]; then
    source "$PHYSGEN_UNDERLAY/local_setup.bash"
fi
source /ws/install/local_setup.bash
# Images cross processes through a shared-memory segment that is larger than one of them.
profile="$(ros2 pkg prefix physgen_bringup --share)/config/fastdds.xml"
export FASTDDS_DEFAULT_PROFILES_FILE="${FASTDDS_DEFAULT_PROFILES_FILE:-$profile}"
export FASTRTPS_DEFAULT_PROFILES_FILE="${FASTRTPS_DEFAULT_PROFILES_FILE:-$profile}"
exec "$@"
