#!/usr/bin/env bash
# Everything that a large GPU has to say about the engine; may be cut at any moment. Needs no network.
#
#     bash benchmarks/gpu_wheels.sh          # before, where there is a network: the packages that the machine lacks
#     bash benchmarks/on_gpu.sh              # there; further words go to benchmarks.on_gpu, see its --help
#     bash benchmarks/on_gpu.sh --parts formats compiled graphs decode_beside     # what had no time left
#
# The figures are in $OUT/on_gpu.json (without $OUT: on_gpu.json in the work folder), after every part anew.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
work=${WORK:-/tmp/on-gpu}           # models of 11 GB, logs
wheels=${WHEELS:-benchmarks/wheels}

mkdir -p "$work"
if compgen -G "$wheels/*.whl" > /dev/null; then
    $python -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade --target "$work/site" "$wheels"/*.whl
    export PYTHONPATH="$work/site${PYTHONPATH:+:$PYTHONPATH}"
fi
exec $python -m benchmarks.on_gpu --work "$work" --out "${OUT:-$work}/on_gpu.json" "$@"
