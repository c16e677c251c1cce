#!/usr/bin/env python3
"""Write digits.dyn.onnx: the float model quantized dynamically, that is its weights alone.

    python -m venv venv && venv/bin/pip install onnx==1.23.2 onnxruntime==1.32.0
    venv/bin/python dynamic.py

Activations are quantized at each run, by the smallest and largest value that occur. It needs
neither training nor images, and writes the same bytes on every run with the same packages.
"""

from pathlib import Path

from onnxruntime.quantization import QuantType, quantize_dynamic

HERE = Path(__file__).resolve().parent
NAME = "digits.dyn.onnx"


def convert(source, target):
    """Write the dynamically quantized model of a float model."""
    quantize_dynamic(
        source,
        target,
        per_channel=True,
        weight_type=QuantType.QInt8,
        # By default convolutions stay as they are. The tool makes each Gemm a MatMul first.
        op_types_to_quantize=["Conv", "MatMul"],
    )


if __name__ == "__main__":
    convert(HERE / "digits.onnx", HERE / NAME)
