"""The plane of the panel Trajectories, by NumPy's own PCA of the same recordings, and where two runs part."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from studio.export.replay import Replay
from tests.export.test_files import recording
from tests.ui.test_quantities import node

FOLDER = Path(__file__).resolve().parents[2] / "studio" / "ui" / "viewer" / "static"
pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")


def plane_of(rows: np.ndarray[Any, Any]) -> dict[str, Any]:
    program = f"""
      import {{ dot, mainPlane }} from {json.dumps((FOLDER / "main_plane.js").as_uri())};
      const rows = {json.dumps(rows.tolist())};
      console.log(JSON.stringify(mainPlane(rows.length, (i, j) => dot(rows[i], rows[j]))));
    """
    found: dict[str, Any] = node(program)
    return found


@pytest.mark.parametrize("count", [3, 9])
def test_the_plane_is_numpys_pca_of_the_states_of_several_runs(count: int) -> None:
    """x_t of two recordings of `count` evaluations each, as the page decodes them; the second leaves the first."""
    one, other = Replay(recording(count)), Replay(recording(count, seed=6))
    way = np.stack([np.asarray(one.of(k, "x_t"), np.float64).ravel() for k in range(count)])
    noise = np.stack([np.asarray(other.of(k, "noise_pred"), np.float64).ravel() for k in range(count)])
    rows = np.concatenate([way, way + np.linspace(0, 1, count)[:, None] * noise])
    found = plane_of(rows)

    centred = rows - rows.mean(axis=0)
    left, sizes, right = np.linalg.svd(centred, full_matrices=False)
    assert found["shares"] == pytest.approx((sizes**2 / (sizes**2).sum())[:2], rel=1e-6)
    places = np.asarray(found["places"])
    for k in range(2):
        expected = left[:, k] * sizes[k]
        sign = np.sign(expected @ places[:, k])
        assert np.abs(sign * places[:, k] - expected).max() < 1e-4 * sizes[0]
        weights = np.array([found["weights"][k][str(i)] for i in range(len(rows))])
        assert np.abs(sign * (weights @ centred) - right[k]).max() < 1e-4  # the direction itself, of length 1


def test_points_on_a_line_and_one_point_alone_have_a_plane_too() -> None:
    line = plane_of(np.outer(np.arange(4.0), [3.0, 4.0, 0.0]))
    assert line["shares"] == pytest.approx([1, 0], abs=1e-9)
    assert sorted(abs(x) for x, _ in line["places"]) == pytest.approx([2.5, 2.5, 7.5, 7.5])
    assert plane_of(np.ones((1, 3)))["places"] == [[0, 0]]


def test_two_runs_part_where_their_distance_reaches_a_tenth_of_its_greatest() -> None:
    cases = [[0, 0.01, 0.04, 0.2, 0.3], [None, 0.9, 1.0], [0, 0.0005, None], [0, 0, 0.2]]
    program = f"""
      globalThis.document = {{ createElement: () => ({{}}) }};
      globalThis.window = globalThis;
      const {{ parting }} = await import({json.dumps((FOLDER / "trajectories.js").as_uri())});
      console.log(JSON.stringify({json.dumps(cases)}.map(parting)));
    """
    assert node(program) == [
        {"index": 2, "there": 0.04, "most": 0.3},
        {"index": 1, "there": 0.9, "most": 1.0},  # apart from the first level that both have
        {"same": True},
        {"index": 2, "there": 0.2, "most": 0.2},
    ]
