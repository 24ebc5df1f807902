#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# kill -9 of one process after the other while a federated run is under way: the run must finish with
# the model that the undisturbed run of the demo made, byte for byte.
#
#   test/faults/killed_run.sh [DEMO]    DEMO: the folder that tools/demo worked in (build/demo)
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
demo=${1:-$root/build/demo}
oncomesh=$root/build/release/bin/oncomesh
mesh=$demo/mesh
# as PERSON COMMAND …: its JSON document
as() {
  local person=$1
  shift
  ONCOMESH_CONTEXT=$mesh/contexts/$person.json "$oncomesh" -o json --quiet "$@"
}
field() { /usr/bin/python3 -c 'import json, sys; print(eval("d" + sys.argv[1], {"d": json.load(sys.stdin)}))' "$1"; }
up() { "$oncomesh" -o json --quiet up --dir "$mesh" --detach >/dev/null; }
trap '"$oncomesh" --quiet down --dir "$mesh" >/dev/null' EXIT

up
nodes=$(/usr/bin/python3 -c 'import json, sys; print(*json.load(open(sys.argv[1]))["nodes"])' "$mesh/mesh.json")
read -r first second third <<<"$nodes"
datasets=$(as researcher datasets list |
  /usr/bin/python3 -c 'import json, sys; print(",".join(d["name"] for d in json.load(sys.stdin)["datasets"]))')
until=$(date -u -d '+30 days' +%F)
request=$(as researcher access request --datasets "$datasets" --purpose DUO:0000006 --title "the same again" \
  --operations train,evaluate --until "$until" | field '["id"]')
for node in $nodes; do as "holder-$node" access decide "$request" --approve >/dev/null; done
permit=$(as committee access decide "$request" --approve | field '["permitId"]')
run=$(as researcher run submit "$mesh/plan.json" --permit "$permit" | field '["name"]')
for victim in hub/training "$second/training" "$third/relay" hub/relay hub/access "$first/access" hub/training \
  "$first/training"; do
  sleep 1.5
  kill -9 "$(cat "$mesh/${victim%/*}/run/${victim#*/}.pid")"
  rounds=$(as researcher run show "$run" 2>/dev/null | field '["rounds"].__len__()' 2>/dev/null || echo "?")
  echo "killed $victim (round $rounds)"
  up
done
as researcher run watch "$run" >/dev/null
state=$(as researcher run show "$run" | field '["state"]')
as researcher run model "$run" --out "$demo/killed.safetensors" --force >/dev/null
echo "$run: $state"
cmp "$demo/killed.safetensors" "$demo/model.safetensors"
echo "the model is the one of the undisturbed run"
