#!/usr/bin/env python3
"""Read digits with a model that train.py wrote.

  python3 predict.py < rows.csv        # 64 pixels (0..16) per line

Each line of the answer is the digit and how sure the model is. A 65th value,
the true digit, is ignored. From Python: load() once, then predict().
"""

import json
import math
import os
import sys


def load(path=None):
    """Reads model.json, by default the one beside this file."""
    here = os.path.dirname(os.path.abspath(__file__))
    with open(path or os.path.join(here, "model.json")) as f:
        return json.load(f)


def predict(model, pixels):
    """Returns the digit and its probability for 64 pixels of 0..16."""
    if len(pixels) != 64:
        raise ValueError("expected 64 pixels, got {}".format(len(pixels)))
    values = [p / model["scale"] for p in pixels] + [1.0]
    hidden = [
        max(0.0, sum(w * v for w, v in zip(unit, values)))
        for unit in model["layers"]["hidden"]
    ] + [1.0]
    scores = [
        sum(w * h for w, h in zip(unit, hidden)) for unit in model["layers"]["output"]
    ]
    top = max(scores)
    exps = [math.exp(s - top) for s in scores]
    best = max(range(len(scores)), key=scores.__getitem__)
    return best, exps[best] / sum(exps)


def main():
    model = load()
    for line in sys.stdin:
        if line.strip():
            digit, sure = predict(model, [int(v) for v in line.split(",")[:64]])
            print("{} {:.4f}".format(digit, sure))


if __name__ == "__main__":
    main()
