#!/usr/bin/env python3
"""Train a small neural network to read handwritten digits.

Nothing but the Python standard library (3.8 or newer) is needed, so the same
file runs on a laptop, on Azimuth and on Azure Machine Learning.

  python3 train.py                     # prints; writes outputs/
  python3 train.py --epochs 5 --seed 7

Metrics go to MLflow when the environment names a tracking server, as it does
inside every Azure Machine Learning job (MLFLOW_TRACKING_URI,
MLFLOW_TRACKING_TOKEN, MLFLOW_RUN_ID). A run that was stopped goes on from
outputs/checkpoint.json and ends with the very weights it would have had.
"""

import argparse
import hashlib
import http.client
import json
import math
import os
import platform
import random
import shutil
import signal
import ssl
import sys
import tempfile
import time
import urllib.error
import urllib.request
from operator import mul

CLASSES = 10
PIXELS = 64
HIDDEN = 32
DECAY = 0.95  # of the learning rate, per epoch


class Stopped(Exception):
    """Raised when the process was asked to end (SIGTERM)."""


class TrackingError(Exception):
    """Raised when the tracking server refuses, or stays away too long."""


# ---------------------------------------------------------------- tracking


class Tracker:
    """Logs to MLflow's REST API. Without a tracking server it does nothing."""

    ATTEMPTS = 9  # a minute and a half with the waits below
    LONGEST_WAIT = 30.0

    def __init__(self, environ, log, stopping):
        self.log = log
        self.stopping = stopping
        self.run_id = environ.get("MLFLOW_RUN_ID", "")
        self.token = environ.get("MLFLOW_TRACKING_TOKEN", "")
        self.base = rest_base(environ.get("MLFLOW_TRACKING_URI", ""))
        self.first_wait = float(environ.get("TRAIN_RETRY_SECONDS", "0.5"))
        self.owns_run = False
        if not self.base:
            return
        self.opener = urllib.request.build_opener(
            urllib.request.HTTPSHandler(context=tls_context(environ))
        )
        if not self.run_id:
            answer = self.call(
                "runs/create",
                {
                    "experiment_id": environ.get("MLFLOW_EXPERIMENT_ID", "0"),
                    "start_time": now_ms(),
                },
            )
            self.run_id = answer["run"]["info"]["run_id"]
            self.owns_run = True
        log("tracking run {} at {}".format(self.run_id, self.base))

    def start(self, params, tags):
        """Logs what the run was started with."""
        self.batch(
            params=[{"key": k, "value": str(v)} for k, v in sorted(params.items())],
            tags=[{"key": k, "value": str(v)} for k, v in sorted(tags.items())],
        )

    def metrics(self, step, values):
        """Logs numbers of one epoch."""
        at = now_ms()
        self.batch(
            metrics=[
                {"key": k, "value": v, "timestamp": at, "step": step}
                for k, v in sorted(values.items())
            ]
        )

    def batch(self, **what):
        if self.base:
            self.call("runs/log-batch", dict(what, run_id=self.run_id))

    def finish(self, status):
        """Ends a run that this process began; a job's run is ended by the service."""
        if self.base and self.owns_run:
            self.call(
                "runs/update",
                {"run_id": self.run_id, "status": status, "end_time": now_ms()},
            )

    def call(self, operation, body):
        """POSTs, and tries again while the server is away or restarting.

        Sending twice does no harm: a metric with the same key, step, time and
        value is the same metric, and params and tags have the same values.
        """
        url = self.base + "/api/2.0/mlflow/" + operation
        headers = {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = "Bearer " + self.token
        data = json.dumps(body).encode()
        wait = self.first_wait
        for attempt in range(1, self.ATTEMPTS + 1):
            try:
                request = urllib.request.Request(url, data=data, headers=headers)
                with self.opener.open(request, timeout=30) as response:
                    text = response.read()
                return json.loads(text.decode() or "{}")
            except urllib.error.HTTPError as e:
                detail = e.read(2000).decode("utf-8", "replace").strip()
                why = "HTTP {}: {}".format(e.code, detail)
                if e.code not in (408, 429) and e.code < 500:
                    raise TrackingError("{} refused: {}".format(operation, why))
            except (OSError, http.client.HTTPException) as e:
                why = str(getattr(e, "reason", e)) or type(e).__name__
            except ValueError as e:
                raise TrackingError("{}: not JSON: {}".format(operation, e))
            if attempt < self.ATTEMPTS:
                self.log("{}: {}; trying again in {:g} s".format(operation, why, wait))
                self.pause(wait)
                wait = min(wait * 2, self.LONGEST_WAIT)
        raise TrackingError(
            "{} failed {} times, at last with: {}".format(operation, self.ATTEMPTS, why)
        )

    def pause(self, seconds):
        """Sleeps, but not through a request to stop."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self.stopping():
                raise Stopped()
            time.sleep(min(0.1, seconds))


def rest_base(uri):
    """The https address behind a tracking URI, or "" for none.

    Azure's scheme azureml://HOST/PATH stands for https://HOST/PATH.
    """
    uri = uri.rstrip("/")
    if uri.startswith("azureml://"):
        return "https://" + uri[len("azureml://") :].split("?")[0].rstrip("/")
    if uri.startswith(("http://", "https://")):
        return uri
    return ""  # a directory or database: only the mlflow package can write those


def tls_context(environ):
    context = ssl.create_default_context()  # honours SSL_CERT_FILE
    bundle = environ.get("REQUESTS_CA_BUNDLE", "")
    if bundle and os.path.isfile(bundle) and not environ.get("SSL_CERT_FILE"):
        context.load_verify_locations(bundle)  # what Python clients usually read
    return context


def now_ms():
    return int(time.time() * 1000)


# -------------------------------------------------------------------- data


def load(path):
    """Reads rows of 64 pixels (0..16) and the digit. Returns rows and a hash."""
    with open(path, "rb") as f:
        raw = f.read()
    rows = []
    for number, line in enumerate(raw.decode("ascii").splitlines(), 1):
        values = [int(v) for v in line.split(",")]
        if len(values) != PIXELS + 1 or not 0 <= values[-1] < CLASSES:
            raise ValueError("{}:{}: not 64 pixels and a digit".format(path, number))
        rows.append(([v / 16.0 for v in values[:PIXELS]], values[-1]))
    return rows, hashlib.sha256(raw).hexdigest()


def split(rows, seed):
    """Puts a fifth of each class aside for testing, the same fifth every time."""
    rng = random.Random(seed)
    train, test = [], []
    for digit in range(CLASSES):
        same = [r for r in rows if r[1] == digit]
        rng.shuffle(same)
        cut = len(same) // 5
        test += same[:cut]
        train += same[cut:]
    return train, test


# ------------------------------------------------------------------- model


def new_model(seed):
    """One hidden layer; the last weight of each unit is its bias."""
    rng = random.Random(seed + 1)

    def layer(units, inputs):
        bound = math.sqrt(6.0 / inputs)
        return [
            [rng.uniform(-bound, bound) for _ in range(inputs)] + [0.0]
            for _ in range(units)
        ]

    return {"hidden": layer(HIDDEN, PIXELS), "output": layer(CLASSES, HIDDEN)}


def forward(model, pixels):
    """Returns the hidden activations and the probability of each digit."""
    x = pixels + [1.0]
    hidden = [max(0.0, sum(map(mul, w, x))) for w in model["hidden"]]
    h = hidden + [1.0]
    scores = [sum(map(mul, w, h)) for w in model["output"]]
    top = max(scores)
    exps = [math.exp(s - top) for s in scores]
    total = sum(exps)
    return hidden, [e / total for e in exps]


def train_epoch(model, rows, order, rate, stopping):
    """One pass of stochastic gradient descent. Returns mean loss and accuracy."""
    loss, right = 0.0, 0
    hidden_layer, output_layer = model["hidden"], model["output"]
    for n in order:
        if stopping():
            raise Stopped()
        pixels, digit = rows[n]
        hidden, probs = forward(model, pixels)
        loss -= math.log(max(probs[digit], 1e-12))
        right += probs.index(max(probs)) == digit
        # The gradient of the loss at each score is probability minus truth.
        slope = [0.0] * HIDDEN
        h = hidden + [1.0]
        for c in range(CLASSES):
            g = probs[c] - (1.0 if c == digit else 0.0)
            w = output_layer[c]
            slope = [s + g * v for s, v in zip(slope, w)]
            step = rate * g
            output_layer[c] = [v - step * a for v, a in zip(w, h)]
        x = pixels + [1.0]
        for u in range(HIDDEN):
            if hidden[u] > 0.0:
                step = rate * slope[u]
                hidden_layer[u] = [v - step * a for v, a in zip(hidden_layer[u], x)]
    return loss / len(order), right / len(order)


def evaluate(model, rows):
    """Accuracy and the confusion matrix (truth by row)."""
    table = [[0] * CLASSES for _ in range(CLASSES)]
    for pixels, digit in rows:
        probs = forward(model, pixels)[1]
        table[digit][probs.index(max(probs))] += 1
    right = sum(table[d][d] for d in range(CLASSES))
    return right / len(rows), table


# ------------------------------------------------------------- checkpoints


def write_json(path, value):
    """Writes a file whole or not at all."""
    directory = os.path.dirname(os.path.abspath(path))
    handle, temporary = tempfile.mkstemp(dir=directory, prefix=".writing-")
    try:
        with os.fdopen(handle, "w") as f:
            json.dump(value, f)
            f.flush()
            os.fsync(f.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def read_checkpoint(path, setup, required, log):
    """Returns (epochs done, model) of a checkpoint that fits, or None."""
    try:
        with open(path) as f:
            saved = json.load(f)
        fits = saved["setup"] == setup
        found = saved["epoch"], saved["model"]
    except FileNotFoundError:
        if required:
            raise
        return None
    except (ValueError, KeyError, TypeError) as e:
        if required:
            raise ValueError("{} is no checkpoint: {}".format(path, e))
        log("{} cannot be read ({}); starting over".format(path, e))
        return None
    if not fits:
        if required:
            raise ValueError("{} is from other data or settings".format(path))
        log("{} is from other data or settings; starting over".format(path))
        return None
    return found


# -------------------------------------------------------------------- main


def parse_args(argv):
    here = os.path.dirname(os.path.abspath(__file__))
    p = argparse.ArgumentParser(
        description="Train a neural network to read handwritten digits."
    )
    p.add_argument("--data", default=os.path.join(here, "data", "digits.csv"))
    p.add_argument("--epochs", type=int, default=30)
    p.add_argument("--learning-rate", type=float, default=0.05)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--output-dir", default="outputs")
    p.add_argument(
        "--checkpoint-every", type=int, default=1, metavar="N", help="epochs"
    )
    p.add_argument(
        "--resume",
        metavar="FILE",
        help="go on from this checkpoint (default: the one in the output directory, if any)",
    )
    p.add_argument("--no-resume", action="store_true", help="ignore checkpoints")
    args = p.parse_args(argv)
    if args.epochs < 1 or args.checkpoint_every < 1:
        p.error("--epochs and --checkpoint-every must be at least 1")
    if not 0 < args.learning_rate < 10:
        p.error("--learning-rate must be between 0 and 10")
    if args.resume and args.no_resume:
        p.error("--resume and --no-resume exclude each other")
    return args


def run(args, log, stopping):
    rows, digest = load(args.data)
    train, test = split(rows, args.seed)
    os.makedirs(args.output_dir, exist_ok=True)
    checkpoint = os.path.join(args.output_dir, "checkpoint.json")
    setup = {"data": digest, "seed": args.seed, "rate": args.learning_rate}

    done, model = 0, new_model(args.seed)
    if not args.no_resume:
        found = read_checkpoint(
            args.resume or checkpoint, setup, bool(args.resume), log
        )
        if found:
            done, model = found
            log("resumed after epoch {}".format(done))

    tracker = Tracker(os.environ, log, stopping)
    tracker.start(
        params={
            "epochs": args.epochs,
            "learning_rate": args.learning_rate,
            "seed": args.seed,
            "hidden_units": HIDDEN,
        },
        tags={
            "model": "mlp-{}-{}-{}".format(PIXELS, HIDDEN, CLASSES),
            "data_sha256": digest,
            "python": platform.python_version(),
        },
    )
    log("{} digits to train on, {} to test with".format(len(train), len(test)))

    saved = done
    try:
        for epoch in range(done + 1, args.epochs + 1):
            began = time.monotonic()
            # The order depends on the seed and the epoch alone, so that a
            # resumed run sees what an uninterrupted one would have seen.
            order = list(range(len(train)))
            random.Random("{}/{}".format(args.seed, epoch)).shuffle(order)
            rate = args.learning_rate * DECAY ** (epoch - 1)
            before = {name: list(layer) for name, layer in model.items()}
            try:
                loss, train_accuracy = train_epoch(model, train, order, rate, stopping)
            except Stopped:
                # Half an epoch cannot be resumed; go back to the end of the last.
                model, done = before, epoch - 1
                raise
            done = epoch
            accuracy = evaluate(model, test)[0]
            if epoch % args.checkpoint_every == 0:
                write_json(checkpoint, {"setup": setup, "epoch": epoch, "model": model})
                saved = epoch
            log(
                "epoch {:>3}/{}  loss={:.4f}  train={:.4f}  test={:.4f}  {:.2f} s".format(
                    epoch, args.epochs, loss, train_accuracy, accuracy,
                    time.monotonic() - began,
                )
            )
            tracker.metrics(
                epoch,
                {
                    "loss": loss,
                    "train_accuracy": train_accuracy,
                    "test_accuracy": accuracy,
                },
            )
            if stopping() and epoch < args.epochs:
                raise Stopped()
    except Stopped:
        if done > saved:
            write_json(checkpoint, {"setup": setup, "epoch": done, "model": model})
        log("stopped after epoch {}; the next run goes on from there".format(done))
        tracker.finish("KILLED")
        raise

    accuracy, confusion = evaluate(model, test)
    write_json(
        os.path.join(args.output_dir, "model.json"),
        {"kind": "mlp", "scale": 16.0, "classes": CLASSES, "layers": model},
    )
    here = os.path.dirname(os.path.abspath(__file__))
    shutil.copyfile(
        os.path.join(here, "predict.py"), os.path.join(args.output_dir, "predict.py")
    )
    write_json(
        os.path.join(args.output_dir, "metrics.json"),
        {"accuracy": accuracy, "epochs": done, "confusion": confusion},
    )
    tracker.metrics(done, {"accuracy": accuracy})
    tracker.finish("FINISHED")
    print("accuracy={:.4f}".format(accuracy), flush=True)
    return 0


def main(argv=None):
    args = parse_args(argv)
    asked = []
    signal.signal(signal.SIGTERM, lambda *_: asked.append(True))

    def log(line):
        print(line, flush=True)

    try:
        return run(args, log, lambda: bool(asked))
    except Stopped:
        return 143  # what a shell reports for a process ended by SIGTERM
    except (OSError, ValueError, TrackingError) as e:
        print("error: {}".format(e), file=sys.stderr, flush=True)
        return 1


if __name__ == "__main__":
    sys.exit(main())
