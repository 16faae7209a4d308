#!/usr/bin/env bash
# The built-in model on one GPU, by the clock: the committed autoencoder goes on, the U-Net begins from nothing.
#
#     bash training/on_gpu.sh
#     UNET_HOURS=2 COUNT=1000000 bash training/on_gpu.sh
#
# All cores draw pictures while the autoencoder learns. Run it again and it goes on where it was.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
run=${RUN:-training/runs/gpu}        # states, figures and logs
out=${OUT_FOLDER:-models/small-world-128}
count=${COUNT:-200000}               # pictures; 50 kB each while it runs
seed=${SEED:-9}
vae_hours=${VAE_HOURS:-0.025}
tiny_hours=${TINY_HOURS:-0.02}
unet_hours=${UNET_HOURS:-0.5}
batch=${BATCH:-512}
cores=$(nproc)

mkdir -p "$run"
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
export PYTHONUNBUFFERED=1
say() { echo "$(date +%T) $*"; }

say "drawing $count pictures, and the autoencoder"
$python -m training.world_pictures --count "$count" --seed "$seed" --processes $((cores > 2 ? cores - 2 : 1)) \
    --out "$run/drawn" > "$run/drawn.log" 2>&1 &
$python -m training.train_autoencoder --from models/small-world-128 --drawn "$run/drawn" --hours "$vae_hours" \
    --batch 256 --whole-share 1 --l2-weight 4 --learning-rate 6e-4 --save-every 500 --sheet-minutes 0 \
    --run "$run/autoencoder"
say "latents"
$python -m training.encode_latents --vae "$run/autoencoder" --drawn "$run/drawn" --out "$run/latents.pt" | tail -1
say "the U-Net, and the tiny decoder beside it"
$python -m training.train_tiny --vae "$run/autoencoder" --latents "$run/latents.pt" --hours "$tiny_hours" \
    --batch 64 --pictures 4000 --sheet-minutes 0 --run "$run/tiny" > "$run/tiny.log" 2>&1 &
tiny=$!
$python -m training.train_unet --latents "$run/latents.pt" --vae "$run/autoencoder" --hours "$unet_hours" \
    --batch "$batch" --learning-rate 1.2e-3 --warmup 200 --ema 0.999 --compile --save-every 1000 --sheet-minutes 0 \
    --run "$run/unet"
wait $tiny
say "export"
$python -m training.export --vae "$run/autoencoder" --latents "$run/latents.pt" --unet "$run/unet" --out "$out"
$python -m training.export --tiny "$run/tiny" --out "$out"
say "done"
