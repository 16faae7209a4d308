"""How the prediction of lost words is counted."""

from __future__ import annotations

from training.lost_words import ObjectMeasure, figures


def test_precision_recall_and_order_are_those_of_the_pairs() -> None:
    measures = [
        ObjectMeasure(m, lost) for m, lost in [(0.9, True), (0.3, True), (0.85, False), (0.1, False), (0.3, False)]
    ]
    assert figures(measures, 0.8) == {
        "objects": 5,
        "lost": 2,
        "marked": 2,
        "marked and lost": 1,
        "precision": 0.5,
        "recall": 0.5,
        "above": 0.75,  # 3 of 3 pairs, and 1.5 of 3
    }
    none = figures([ObjectMeasure(0.1, False)])
    assert (none["precision"], none["recall"], none["above"]) == (None, None, None)
