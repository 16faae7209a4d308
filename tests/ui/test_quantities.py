"""The page's quantities are Python's: labels of one table, formulas of studio.diffusion.quantities, run by node."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any, get_args

import pytest
from PIL import ImageFont

from studio.answered.models import PredictionName
from studio.asked.quantities import QUANTITIES
from studio.asked.questions import DECODABLE
from studio.diffusion.quantities import noise_terms, x0_terms
from studio.ui import text
from studio.ui.viewer.noise_viewer import PANELS, props

SCRIPT = Path(text.__file__).parent / "viewer" / "static" / "quantities.js"
EDM_DATA = 0.5
LEVELS = {  # a and s of evaluations, by what the paths of noise have: variance preserved, EDM, a straight line
    "epsilon": [(0.8, 0.6), (0.28, 0.96)],
    "v_prediction": [(0.8, 0.6), (0.0, 1.0)],
    "sample": [(0.6, 0.8)],
    "flow_prediction": [(0.7, 0.3), (0.0, 1.0)],
    "edm_epsilon": [((1 - 0.6**2) ** 0.5 / EDM_DATA, 0.6), ((1 - 0.9999**2) ** 0.5 / EDM_DATA, 0.9999)],
    "edm_v_prediction": [(0.8, 0.6), (0.01, (1 - 0.01**2) ** 0.5)],
}


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_the_pages_formulas_are_pythons() -> None:
    assert LEVELS.keys() == set(get_args(PredictionName))
    cases = [(type_, a, s) for type_, levels in LEVELS.items() for a, s in levels]
    program = f"""
      import {{ predictedX0, predictedNoise }} from {json.dumps(SCRIPT.as_uri())};
      const found = {json.dumps(cases)}.map(([type, a, s]) => {{
        const level = {{ a, s, x_t: new Float32Array([1, 0, 2]) }};
        const model = new Float32Array([0, 1, -3]);
        return [predictedX0(type, level, model), predictedNoise(type, level, model)].map((one) => [...one]);
      }});
      console.log(JSON.stringify(found));
    """
    for (type_, a, s), found in zip(cases, node(program), strict=True):
        for terms, values in zip((x0_terms(a, s, type_), noise_terms(a, s, type_)), found):
            assert terms is not None
            expected = [terms.of_input, terms.of_output, 2 * terms.of_input - 3 * terms.of_output]
            assert values == pytest.approx(expected, rel=1e-5, abs=1e-6), (type_, a, s)


def test_the_page_gets_the_labels_and_kinds_of_the_table() -> None:
    sent = props(PANELS)
    assert sent["quantities"] == {name: quantity.kind for name, quantity in QUANTITIES.items()}
    for name, quantity in QUANTITIES.items():
        assert sent["words"][f"pane.{name}"] == quantity.label
    assert {name: q.label for name, q in QUANTITIES.items() if q.kind == "state"} == DECODABLE


@pytest.mark.parametrize("name", QUANTITIES)
def test_the_font_of_films_has_every_character_of_a_label(name: str) -> None:
    font = ImageFont.load_default(14)
    absent = bytes(font.getmask("\U000f1234"))
    assert [c for c in QUANTITIES[name].label if bytes(font.getmask(c)) == absent] == []


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_the_page_computes_every_quantity_of_the_table() -> None:
    program = f"""
      import {{ quantities }} from {json.dumps(SCRIPT.as_uri())};
      console.log(JSON.stringify(Object.keys(quantities)));
    """
    assert node(program) == list(QUANTITIES)


def node(program: str) -> Any:
    """What a module writes as JSON."""
    done = subprocess.run(
        ["node", "--input-type=module", "-e", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
