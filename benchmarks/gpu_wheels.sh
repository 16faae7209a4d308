#!/usr/bin/env bash
# The packages that a machine with torch and no network lacks, as wheels in an ignored folder of at most 20 MiB.
#
#     bash benchmarks/gpu_wheels.sh
#     NAMES="diffusers transformers tokenizers" PYTHON_VERSION=3.11 bash benchmarks/gpu_wheels.sh
#
# Versions are those installed here. Nothing that they need comes with them: NAMES are what the engine imports and an
# image with torch, transformers, accelerate, scipy and Pillow does not have.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-.venv/bin/python}
folder=${WHEELS:-benchmarks/wheels}
version=${PYTHON_VERSION:-3.12}      # of the machine's Python
limit=$((20 * 1024 * 1024))
read -ra names <<< "${NAMES:-diffusers importlib_metadata zipp msgspec torchsde trampoline filelock psutil}"

platforms=()
for glibc in 28 27 24 17 12 5; do platforms+=(--platform "manylinux_2_${glibc}_x86_64"); done
platforms+=(--platform manylinux2014_x86_64 --platform manylinux1_x86_64 --platform any)

mkdir -p "$folder"
rm -f "$folder"/*.whl
for name in "${names[@]}"; do
    pin=$($python -c 'import importlib.metadata as m, sys; print(m.version(sys.argv[1]))' "$name")
    $python -m pip download -q --no-deps --only-binary=:all: --python-version "$version" --implementation cp \
        "${platforms[@]}" -d "$folder" "$name==$pin"
done
sum=$(cat "$folder"/*.whl | wc -c)
echo "${#names[@]} wheels, $((sum / 1024)) KiB of at most $((limit / 1024)) KiB, in $folder"
[ "$sum" -le "$limit" ] || { echo "too large: name fewer packages" >&2; exit 1; }
