"""
Makes the models of other runtimes from the benchmark's ONNX files: float32 and int8 TensorFlow Lite for LiteRT.js, a float32 GraphModel for tfjs.

    python convert.py --assets DIR --digits ../../../models --out DIR [MODEL…]

The int8 model is quantized anew, from the float32 weights, by TensorFlow Lite's own tool: weights per channel, activations calibrated with the
inputs of the model's cases. So it is another model than the ONNX file that Nearside runs, and has errors of its own.
"""

import argparse
import base64
import json
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

import graph_model  # noqa: E402
from network import TO_NHWC, Network  # noqa: E402

# Those that the benchmark measures when nobody chooses; resnet50_224, mobilenet_v3_small_224, yolo_n_640, ultraface_rfb_320 and style_candy_224
# convert as well.
MODELS = ["digits", "mobilenet_v2_imagenet", "squeezenet_imagenet", "mnist_cntk", "mlp_tabular"]
# Calibrating with more inputs than this would take long, and change little.
MOST_CASES = 100


def find(name: str, options: argparse.Namespace) -> tuple[Path, list[dict[str, np.ndarray]]]:
    """A model's float32 file, and the inputs of its cases."""
    if name == "digits":
        samples = json.loads((options.digits / "digits.samples.json").read_text())["samples"]
        pixels = [np.frombuffer(base64.b64decode(sample["pixels"]), np.uint8) for sample in samples]
        return options.digits / "digits.onnx", [{"image": p.reshape(1, 1, 28, 28) / np.float32(255)} for p in pixels]
    if options.assets is None:
        raise FileNotFoundError("the folder of test models is missing: name it with --assets")
    folder = next((options.assets / group / name for group in ("real", "arch") if (options.assets / group / name).is_dir()), None)
    if folder is None:
        raise FileNotFoundError(f"there is no such model in {options.assets}")
    card = json.loads((folder / "model.json").read_text())
    if "f32" not in card["variants"]:
        raise NotImplementedError("it has no float32 variant")
    # Streams have their inputs elsewhere.
    cases = [case["inputs"] for case in card["cases"] if "inputs" in case]
    if any(file["dtype"] != "f32" for inputs in cases for file in inputs.values()):
        raise NotImplementedError("it has inputs that are not float32")
    read = lambda file: np.fromfile(folder / file["file"], np.float32).reshape(file["shape"])  # noqa: E731
    return folder / card["variants"]["f32"]["file"], [{key: read(file) for key, file in inputs.items()} for inputs in cases]


def tensorflow_lite(function, network: Network, cases: list[dict[str, np.ndarray]] | None) -> bytes:
    """In float32, or in int8 if there are cases to calibrate with; inputs and outputs are float32 either way."""
    # Saving a module with the function is what gives inputs and outputs their names.
    module = tf.Module()
    module.function = function
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], module)
    if cases is not None:
        names = list(network.inputs)

        def inputs():
            for case in cases[:MOST_CASES]:
                for i in range(next(iter(case.values())).shape[0]):
                    items = [case[name][i : i + 1] for name in names]
                    yield [item.transpose(TO_NHWC) if item.ndim == 4 else item for item in items]

        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = inputs
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8, tf.lite.OpsSet.TFLITE_BUILTINS]
    return converter.convert()


def convert(name: str, options: argparse.Namespace) -> None:
    """Writes the models, and `card.json`, which tells the benchmark's page how inputs and outputs lie."""
    folder = options.out / name
    (folder / "card.json").unlink(missing_ok=True)
    path, cases = find(name, options)
    network = Network(str(path))
    function = network.trace()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "f32.tflite").write_bytes(tensorflow_lite(function, network, None))
    (folder / "int8.tflite").write_bytes(tensorflow_lite(function, network, cases))
    graph_model.write(function, folder / "tfjs")
    card = {
        "inputs": [{"name": key, "nhwc": len(dims) == 4, "dims": dims} for key, dims in network.inputs.items()],
        "outputs": [{"name": key, "nhwc": last} for key, last in zip(network.outputs, network.channels_last)],
        "models": {"litert": {"f32": "f32.tflite", "int8": "int8.tflite"}, "tfjs": {"f32": "tfjs/model.json"}},
    }
    # Last, since it says that the rest is there.
    (folder / "card.json").write_text(json.dumps(card, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=MODELS, help="names, as the benchmark has them")
    parser.add_argument("--assets", type=Path, help="the folder of test models")
    parser.add_argument("--digits", type=Path, required=True, help="the folder of the digits model")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    for name in options.models:
        try:
            convert(name, options)
            print(f"{name}: converted")
        # One that TensorFlow does not take is no reason to be without the others.
        except Exception as error:  # noqa: BLE001
            print(f"{name}: not converted: {error}")


if __name__ == "__main__":
    main()
