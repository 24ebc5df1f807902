#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs imaging_oracle.py with the Python environment of tools/setup on the shared real studies.
#
#   imaging_oracle.sh PATH/TO/oncomesh [--patients N]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
program=$1
shift
data=${ONCOMESH_TEST_DATA:-$root/../shared/data}/sts
python=$root/build/venv/bin/python
if [ ! -d "$data" ]; then
  echo "no shared test data: skipped"
  exit 77
fi
if ! "$python" -c 'import nibabel, numpy, pydicom, SimpleITK, skimage' 2>/dev/null; then
  echo "the oracles are not in build/venv (tools/setup test puts them there): skipped"
  exit 77
fi
exec "$python" "$here/imaging_oracle.py" --oncomesh "$program" --data "$data" "$@"
