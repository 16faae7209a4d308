"""Pictures for a list of prompts, made by the studio's own lanes, on one sheet, with what the nearest rendering says.

python -m training.contact_sheet --checkpoint models/small-world-128 --out docs/images/contact-sheet.png
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from PIL import Image, ImageDraw

from studio.checkpoints.loader import load
from studio.diffusion.families import Components
from studio.diffusion.lane import start_lane
from studio.diffusion.prompt import encode_prompts
from studio.diffusion.vae import decode, to_pictures
from studio.requests import TextToImage
from training.nearest import nearest_background, nearest_object
from training.world import OBJECTS, SIZE, SIZES, background_image

PROMPTS = Path(__file__).parent / "prompts.txt"
COLUMNS = 8
CAPTION_HEIGHT = 28


@torch.inference_mode()
def make_pictures(
    components: Components, prompts: list[str], *, seed: int = 1, steps: int = 25, guidance_scale: float = 5.0
) -> list[Image.Image]:
    """One picture per prompt; all lanes share each U-Net call."""
    lanes = []
    for prompt in prompts:
        request = TextToImage(prompt=prompt, num_inference_steps=steps, guidance_scale=guidance_scale, seed=seed)
        conditioning = encode_prompts(components, prompt, "", num_steps=steps, guidance_scale=guidance_scale)
        lanes.append(start_lane(components, request, seed=seed, conditioning=conditioning))
    while not lanes[0].done:  # all have the same steps
        calls = [lane.call() for lane in lanes]
        answer = components.unet(
            torch.cat([call.sample for call in calls]),
            torch.cat([torch.full((len(call.sample),), call.timestep) for call in calls]),
            torch.cat([call.prompt_embeds for call in calls]),
            return_dict=False,
        )[0]
        for lane, rows in zip(lanes, answer.split([len(call.sample) for call in calls]), strict=True):
            lane.advance(rows)
    return [to_pictures(decode(components, lane.latents))[0] for lane in lanes]


def asked_objects(prompt: str) -> list[str]:
    """The objects that a prompt names, in its order, synonyms included."""
    found = []
    for name, synonyms in OBJECTS.items():
        places = [prompt.find(word) for word in (name, *synonyms) if word in prompt]
        if places:
            found.append((min(places), name))
    return [name for _, name in sorted(found)]


def seen_objects(picture: Image.Image, count: int, prompt: str, ground: Image.Image) -> list[str]:
    """The nearest object, or the nearest small one in each half when the prompt asks for two."""
    gray = "black and white" in prompt
    if count < 2:
        return [nearest_object(picture, ground, gray=gray).name]
    half = SIZE // 2
    if " above " in prompt or " over " in prompt or " below " in prompt or " under " in prompt:
        halves = ((0, 0, SIZE, half), (0, half, SIZE, SIZE))
    else:
        halves = ((0, 0, half, SIZE), (half, 0, SIZE, SIZE))
    names = [nearest_object(picture, ground, (SIZES["small"],), within, gray).name for within in halves]
    return names[::-1] if (" below " in prompt or " right of " in prompt) else names


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=Path("models/small-world-128"))
    parser.add_argument("--prompts", type=Path, default=PROMPTS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--guidance-scale", type=float, default=5.0)
    parser.add_argument("--out", type=Path, default=Path("docs/images/contact-sheet.png"))
    options = parser.parse_args()
    components = load(
        options.checkpoint,
        name=options.checkpoint.name,
        device=torch.device("cpu"),
        dtype=torch.float32,
        progress=lambda sentence, fraction: None,
    )
    prompts = options.prompts.read_text(encoding="utf-8").split("\n")
    prompts = [prompt for prompt in prompts if prompt]
    pictures = make_pictures(
        components, prompts, seed=options.seed, steps=options.steps, guidance_scale=options.guidance_scale
    )
    rows = -(-len(prompts) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * (SIZE * 2 + 8), rows * (SIZE * 2 + CAPTION_HEIGHT)), "white")
    draw = ImageDraw.Draw(sheet)
    right = 0
    for index, (prompt, picture) in enumerate(zip(prompts, pictures, strict=True)):
        left, top = index % COLUMNS * (SIZE * 2 + 8), index // COLUMNS * (SIZE * 2 + CAPTION_HEIGHT)
        sheet.paste(picture.resize((SIZE * 2, SIZE * 2), Image.Resampling.BICUBIC), (left, top))
        asked = asked_objects(prompt)
        background, variant = nearest_background(picture)
        seen = seen_objects(picture, len(asked), prompt, background_image(background, variant))
        right += seen == asked
        draw.text((left + 2, top + SIZE * 2 + 1), prompt, fill="black")
        draw.text((left + 2, top + SIZE * 2 + 13), f"nearest: {' + '.join(seen)}, {background}", fill="gray")
        print(json.dumps({"prompt": prompt, "asked": asked, "seen": seen, "background": background}))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(options.out, optimize=True)
    print(json.dumps({"prompts": len(prompts), "objects_right": right, "sheet": str(options.out)}))


if __name__ == "__main__":
    main()
