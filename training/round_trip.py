"""Held-out pictures and what each decoder makes of their latents, on one sheet, with the PSNR of each.

python -m training.round_trip --checkpoint models/small-world-128 --out docs/images/round-trip.png
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file

from studio.diffusion.preview import decode_fast
from studio.diffusion.vae import to_pictures
from training.encode_latents import load_vae
from training.train_autoencoder import HELD_OUT_SEED, picture_batch, psnr
from training.world import SIZE

SHOWN = 8


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=Path("models/small-world-128"))
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--out", type=Path, default=Path("docs/images/round-trip.png"))
    options = parser.parse_args()
    vae = load_vae(options.checkpoint)
    preview = load_file(options.checkpoint / "vae" / "fast_preview.safetensors")
    pixels = picture_batch(HELD_OUT_SEED, range(options.count))
    latents = torch.cat([vae.encode(part).latent_dist.mean for part in pixels.split(8)])
    decoded = torch.cat([vae.decode(part).sample for part in latents.split(8)])
    fast = decode_fast(latents * vae.config.scaling_factor, preview["weight"].float(), preview["bias"].float())
    rows = [to_pictures(batch[:SHOWN]) for batch in (pixels, decoded, fast)]
    sheet = Image.new("RGB", (SHOWN * (SIZE + 4), len(rows) * (SIZE + 4)), "white")
    for row, pictures in enumerate(rows):
        for column, picture in enumerate(pictures):
            sheet.paste(picture, (column * (SIZE + 4), row * (SIZE + 4)))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(options.out, optimize=True)
    print(json.dumps({"pictures": options.count, "psnr": psnr(decoded, pixels), "fast_psnr": psnr(fast, pixels)}))


if __name__ == "__main__":
    main()
