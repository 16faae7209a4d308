"""Held-out pictures and what each decoder makes of their latents, on one sheet, with the PSNR of each.

python -m training.round_trip --checkpoint models/small-world-128 --out docs/images/round-trip.png
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from studio.engine.previews import PreviewDecoders
from training.pictures import load_checkpoint
from training.previews import decode, pictures_psnr
from training.samples import save_rows
from training.world_pictures import HELD_OUT_SEED, draw_pictures, to_pixels

SHEET_ROWS = 8


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=Path("models/small-world-128"))
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--out", type=Path, default=Path("docs/images/round-trip.png"))
    options = parser.parse_args()
    components = load_checkpoint(options.checkpoint)
    decoders = PreviewDecoders(components)
    truth = draw_pictures(HELD_OUT_SEED, range(options.count))
    parts: list[Tensor] = [
        components.vae.encode(part).latent_dist.mean for part in to_pixels(torch.from_numpy(truth)).split(8)
    ]
    latents = torch.cat(parts) * components.vae.config.scaling_factor
    rows = {name: decode(decoders, name, latents) for name in decoders.available}
    save_rows(options.out, [[Image.fromarray(one) for one in row[:SHEET_ROWS]] for row in (truth, *rows.values())])
    figures = {f"{name}, PSNR in dB": round(pictures_psnr(row, truth), 2) for name, row in rows.items()}
    print(json.dumps({"pictures": options.count, **figures}))


if __name__ == "__main__":
    main()
