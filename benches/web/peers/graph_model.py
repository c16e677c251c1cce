"""Writes a traced TensorFlow function as tfjs's GraphModel, with the fused operators that tfjs's own converter makes."""

import json
from pathlib import Path

import numpy as np
from google.protobuf.json_format import MessageToDict
from tensorflow.core.framework import graph_pb2
from tensorflow.python.framework import tensor_util

FUSED = {"Conv2D": "_FusedConv2D", "DepthwiseConv2dNative": "FusedDepthwiseConv2dNative", "MatMul": "_FusedMatMul"}
ACTIVATIONS = ("Relu", "Relu6")


def fuse(graph: graph_pb2.GraphDef, outputs: list[str]) -> list:
    """Products take the bias and the activation that follow them; the result keeps the last one's name."""
    nodes = {node.name: node for node in graph.node}
    readers: dict[str, list] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)

    def next_node(node, operators):
        following = readers.get(node.name, [])
        lone = len(following) == 1 and node.name not in outputs and following[0].op in operators
        # The product must be what the bias is added to.
        return following[0] if lone and following[0].input[0] == node.name else None

    for node in list(graph.node):
        if node.op not in FUSED or (bias := next_node(node, ("BiasAdd",))) is None:
            continue
        activation = next_node(bias, ACTIVATIONS)
        last = activation or bias
        fused = type(node)()
        fused.CopyFrom(node)
        fused.name, fused.op = last.name, FUSED[node.op]
        fused.input.append(bias.input[1])
        fused.attr["num_args"].i = 1
        fused.attr["fused_ops"].list.s.extend([b"BiasAdd", *([activation.op.encode()] if activation else [])])
        for gone in (node, bias):
            nodes.pop(gone.name, None)
        nodes[last.name] = fused
    # In the order in which they run.
    return [nodes[node.name] for node in graph.node if node.name in nodes]


def write(function, folder: Path) -> None:
    """`model.json` and `weights.bin`."""
    outputs = list(function.structured_outputs)
    # What TensorFlow adds to return them.
    returns = {tensor.op.name for tensor in function.structured_outputs.values()}
    manifest, topology, data = [], [], []
    for node in fuse(function.graph.as_graph_def(), outputs):
        if node.name in returns:
            continue
        if node.op == "Const":
            array = tensor_util.MakeNdarray(node.attr["value"].tensor)
            array = array.astype(np.int32) if array.dtype == np.int64 else array
            manifest.append({"name": node.name, "shape": list(array.shape), "dtype": str(array.dtype)})
            data.append(np.ascontiguousarray(array).tobytes())
            node.attr["value"].tensor.ClearField("tensor_content")
            for field in ("float_val", "int_val", "int64_val"):
                node.attr["value"].tensor.ClearField(field)
        topology.append(MessageToDict(node))
    model = {
        "format": "graph-model",
        "signature": {
            "inputs": {tensor.op.name: {"name": f"{tensor.op.name}:0"} for tensor in function.inputs},
            "outputs": {name: {"name": f"{name}:0"} for name in outputs},
        },
        "modelTopology": {"node": topology, "versions": {}},
        "weightsManifest": [{"paths": ["weights.bin"], "weights": manifest}],
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.json").write_text(json.dumps(model))
    (folder / "weights.bin").write_bytes(b"".join(data))
