#!/usr/bin/env python3
"""Write digits.qop.onnx: the int8 model once more, in ONNX's other static form (QOperator).

    python -m venv venv && venv/bin/pip install onnx==1.23.2 onnxruntime==1.32.0
    venv/bin/python qoperator.py

The scales are those of digits.int8.onnx, so the two files differ in form alone. It needs neither
training nor images, and writes the same bytes on every run with the same packages.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import TensorsData
from onnxruntime.quantization.onnx_quantizer import ONNXQuantizer
from onnxruntime.quantization.quant_utils import QuantizationMode

HERE = Path(__file__).resolve().parent
NAME = "digits.qop.onnx"


def activation_ranges(model, qdq):
    """Return {activation: (least, largest)} of a float model by the scales of its QDQ model."""
    constants = {c.name: numpy_helper.to_array(c) for c in qdq.graph.initializer}
    ranges = {}
    for node in qdq.graph.node:
        if node.op_type == "QuantizeLinear":
            scale, zero = constants[node.input[1]], constants[node.input[2]].astype(np.float32)
            name = node.input[1].removesuffix("_scale")
            ranges[name] = (-zero * scale, (np.float32(255) - zero) * scale)
    # The QDQ model has each Relu inside the operator before it.
    for node in model.graph.node:
        if node.op_type == "Relu":
            ranges[node.input[0]] = ranges[node.output[0]]
    return ranges


def convert(source, qdq, target):
    """Write the QOperator model of a float model, with the scales of its QDQ model."""
    model, scaled = onnx.load(source), onnx.load(qdq)
    ranges = activation_ranges(model, scaled)
    quantizer = ONNXQuantizer(
        model,
        per_channel=True,
        reduce_range=False,
        mode=QuantizationMode.QLinearOps,
        static=True,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=TensorsData(CalibrationMethod.MinMax, ranges),
        nodes_to_quantize=[],
        nodes_to_exclude=[],
        op_types_to_quantize=["Conv", "Relu", "MaxPool", "Flatten", "Gemm"],
    )
    quantizer.quantize_model()
    result = quantizer.model.model
    result.ir_version = scaled.ir_version
    onnx.save(result, target)


if __name__ == "__main__":
    convert(HERE / "digits.onnx", HERE / "digits.int8.onnx", HERE / NAME)
