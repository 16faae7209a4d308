"""Plain code, as a browser without a GPU draws the noise viewer: large pictures with fewer pixels while it moves."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.ui.test_quantities import node

SCRIPT = Path(__file__).resolve().parents[2] / "studio" / "ui" / "viewer" / "static" / "painter.js"


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_a_large_picture_is_coarse_while_the_viewer_moves_and_whole_at_rest() -> None:
    program = f"""
      globalThis.ImageData = class {{
        constructor(width, height) {{
          Object.assign(this, {{ width, height, data: new Uint8ClampedArray(width * height * 4) }});
        }}
      }};
      const {{ Painter }} = await import({json.dumps(SCRIPT.as_uri())});
      const painter = new Painter();
      const picture = (cells, isMoving, mayBeCoarse) => {{
        let image = null;
        const canvas = {{ getContext: () => ({{ putImageData: (one) => {{ image = one; }} }}) }};
        const latents = Float32Array.from({{ length: cells * cells }}, (_, k) => Math.sin(k));
        const weight = Float32Array.from({{ length: 192 * 9 }}, (_, k) => Math.cos(k) / 9);
        const decoder = {{ weight, bias: new Float32Array(192), scale: 8 }};
        const draw = () => painter.picture(canvas, latents, [1, cells, cells], decoder, {{ mayBeCoarse }});
        painter.together(draw, {{ isMoving }});
        return {{ image, wasCoarse: painter.wasCoarse }};
      }};
      const [moving, rest] = [picture(64, true, true), picture(64, false, true)];
      // A coarse pixel is the one below and to the right of the middle of those that it stands for.
      const at = ({{ image }}, x, y) => [...image.data.slice((y * image.width + x) * 4, (y * image.width + x) * 4 + 4)];
      const places = [[0, 0], [100, 37], [255, 255]];
      console.log(JSON.stringify({{
        widths: [moving, rest, picture(32, true, true), picture(64, true, false)].map(({{ image }}) => image.width),
        coarse: [moving, rest, picture(32, true, true), picture(64, true, false)].map((one) => one.wasCoarse),
        same: places.every(([x, y]) => String(at(moving, x, y)) === String(at(rest, 2 * x + 1, 2 * y + 1))),
      }}));
    """
    found = node(program)
    assert found["widths"] == [256, 512, 256, 512]
    assert found["coarse"] == [True, False, False, False]
    assert found["same"]
