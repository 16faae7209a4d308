"""The page's formulas of predicted x0 and predicted noise are those of studio.diffusion.quantities, run by node."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import get_args

import pytest

from studio.answered.models import PredictionName
from studio.diffusion.quantities import noise_terms, x0_terms
from studio.ui import text

SCRIPT = Path(text.__file__).parent / "static" / "viewer" / "quantities.js"
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
    done = subprocess.run(
        ["node", "--input-type=module", "-e", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    for (type_, a, s), found in zip(cases, json.loads(done.stdout), strict=True):
        for terms, values in zip((x0_terms(a, s, type_), noise_terms(a, s, type_)), found):
            assert terms is not None
            expected = [terms.of_input, terms.of_output, 2 * terms.of_input - 3 * terms.of_output]
            assert values == pytest.approx(expected, rel=1e-5, abs=1e-6), (type_, a, s)
