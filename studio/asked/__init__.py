"""What is asked: requests, comparisons, questions, branches. Plain, frozen, validated: no torch, no page, no disk."""
