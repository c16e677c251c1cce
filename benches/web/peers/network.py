"""From ONNX to TensorFlow operations: images become NHWC, as LiteRT and tfjs want them, weights are turned once, here."""

from dataclasses import dataclass

import numpy as np
import onnx
import tensorflow as tf
from onnx.reference import ReferenceEvaluator

TO_NHWC, TO_NCHW = [0, 2, 3, 1], [0, 3, 1, 2]


@dataclass
class Value:
    """A tensor that is computed, in one of three layouts."""

    tensor: tf.Tensor
    # Whether it is an image whose channels come last here and second in ONNX.
    nhwc: bool = False
    # The channels, height and width that a row held before it was flattened with the channels last.
    flat: tuple[int, int, int] | None = None
    # A maximum over it may be padded with zeros.
    positive: bool = False


class Network:
    """One ONNX model with the batch size 1."""

    def __init__(self, path: str):
        self.model = onnx.load(path)
        graph = self.model.graph
        self.weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
        self.inputs = {
            value.name: [dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim]
            for value in graph.input
            if value.name not in self.weights
        }
        self.outputs = [value.name for value in graph.output]
        # Which outputs came out with their channels last; known once the network was traced.
        self.channels_last: list[bool] = []

    def trace(self):
        """The network as one function, with inputs `in0`, `in1`… and outputs `out0`…"""
        shapes = [nhwc(dims) for dims in self.inputs.values()]
        signature = [tf.TensorSpec(shape, tf.float32, name=f"in{i}") for i, shape in enumerate(shapes)]
        return tf.function(self._run, input_signature=signature, autograph=False).get_concrete_function()

    def _run(self, *inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        values = dict(self.weights)
        for name, tensor in zip(self.inputs, inputs):
            values[name] = Value(tensor, nhwc=len(tensor.shape) == 4)
        for node in self.model.graph.node:
            operands = [values[name] if name else None for name in node.input]
            if not any(isinstance(operand, Value) for operand in operands):
                results = self._fold(node, operands)
            elif node.op_type == "Shape":
                results = [np.array(onnx_shape(operands[0]), np.int64)]
            elif node.op_type in OPERATORS:
                attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
                results = OPERATORS[node.op_type](attributes, *operands)
            else:
                raise NotImplementedError(f"network.py has no operator {node.op_type}")
            values.update(zip(node.output, results if isinstance(results, list) else [results]))
        self.channels_last = [values[name].nhwc for name in self.outputs]
        results = [plain(values[name], keep=True) for name in self.outputs]
        return {f"out{i}": tf.identity(result, name=f"out{i}") for i, result in enumerate(results)}

    def _fold(self, node: onnx.NodeProto, operands: list) -> list[np.ndarray]:
        """What does not depend on the inputs, by ONNX's own implementation."""
        value_info = onnx.helper.make_empty_tensor_value_info
        names = [name for name in node.input if name]
        graph = onnx.helper.make_graph([node], "one", [value_info(n) for n in names], [value_info(n) for n in node.output])
        model = onnx.helper.make_model(graph, opset_imports=self.model.opset_import, ir_version=self.model.ir_version)
        return ReferenceEvaluator(model).run(None, {name: operands[list(node.input).index(name)] for name in names})


def nhwc(dims: list[int]) -> list[int]:
    return [dims[axis] for axis in TO_NHWC] if len(dims) == 4 else list(dims)


def onnx_shape(value: Value) -> list[int]:
    dims = value.tensor.shape.as_list()
    return [dims[axis] for axis in TO_NCHW] if value.nhwc else dims


def plain(value: Value, keep: bool = False) -> tf.Tensor:
    """The tensor in ONNX's layout, or, with `keep`, an image as it lies."""
    if value.flat is not None:
        c, h, w = value.flat
        return tf.reshape(tf.transpose(tf.reshape(value.tensor, [-1, h, w, c]), TO_NCHW), [-1, c * h * w])
    return tf.transpose(value.tensor, TO_NCHW) if value.nhwc and not keep else value.tensor


def axis_of(value: Value, axis: int) -> int:
    axis %= len(value.tensor.shape)
    return TO_NHWC.index(axis) if value.nhwc else axis


def same_layout(values: list) -> tuple[list, bool]:
    """Operands that meet element by element, and whether they are images now."""
    images = any(isinstance(value, Value) and value.nhwc for value in values)

    def convert(value):
        if isinstance(value, Value):
            turn = images and not value.nhwc and len(value.tensor.shape) == 4
            return tf.transpose(value.tensor, TO_NHWC) if turn else value.tensor if images else plain(value)
        if images and value.ndim > 0:
            value = value.reshape([1] * (4 - value.ndim) + list(value.shape)).transpose(TO_NHWC)
        return tf.constant(value)

    return [convert(value) for value in values], images


def elementwise(function):
    def operator(_attributes, *values):
        tensors, images = same_layout(list(values))
        return Value(function(*tensors), images)

    return operator


def activation(function, positive: bool = False):
    # Dropout has operands that only training needs.
    return lambda _attributes, x, *_rest: Value(function(x.tensor), x.nhwc, x.flat, positive)


def clip(_attributes, x: Value, low=None, high=None) -> Value:
    bounds = (None if low is None else float(low), None if high is None else float(high))
    if bounds == (0, 6):
        return activation(tf.nn.relu6, True)(_attributes, x)
    if bounds == (0, None):
        return activation(tf.nn.relu, True)(_attributes, x)
    low, high = (-np.inf if bounds[0] is None else bounds[0]), (np.inf if bounds[1] is None else bounds[1])
    return Value(tf.clip_by_value(x.tensor, low, high), x.nhwc, x.flat)


def hard_sigmoid(attributes, x: Value) -> Value:
    alpha, beta = attributes.get("alpha", 0.2), attributes.get("beta", 0.5)
    return Value(tf.nn.relu6(x.tensor * np.float32(6 * alpha) + np.float32(6 * beta)) * np.float32(1 / 6), x.nhwc)


def padding(attributes, size: list[int], kernel: list[int], strides: list[int], dilations: list[int]):
    """TensorFlow's word for ONNX's padding, or the padding itself."""
    if attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        if attributes["auto_pad"] != b"SAME_UPPER":
            raise NotImplementedError(f"padding {attributes['auto_pad']}")
        return "SAME"
    pads = attributes.get("pads", [0, 0, 0, 0])
    pairs = list(zip(pads[:2], pads[2:]))
    if attributes.get("ceil_mode"):
        # What rounding up adds at the end.
        for i in range(2):
            reach = size[i] + sum(pairs[i]) - (dilations[i] * (kernel[i] - 1) + 1)
            pairs[i] = (pairs[i][0], pairs[i][1] + -reach % strides[i])
    if not any(map(sum, pairs)):
        return "VALID"
    same = []
    for i in range(2):
        total = max((-(-size[i] // strides[i]) - 1) * strides[i] + dilations[i] * (kernel[i] - 1) + 1 - size[i], 0)
        same.append((total // 2, total - total // 2))
    return "SAME" if same == pairs else [[0, 0], *map(list, pairs), [0, 0]]


def conv(attributes, x: Value, weights: np.ndarray, bias: np.ndarray | None = None) -> Value:
    kernel, size = list(weights.shape[2:]), x.tensor.shape.as_list()[1:3]
    strides, dilations = attributes.get("strides", [1, 1]), attributes.get("dilations", [1, 1])
    pads = padding(attributes, size, kernel, strides, dilations)
    channels, group = x.tensor.shape[3], attributes.get("group", 1)
    if group == 1:
        y = tf.nn.conv2d(x.tensor, weights.transpose(2, 3, 1, 0), strides, pads, dilations=dilations)
    elif group == channels:
        filters = weights.transpose(2, 3, 0, 1).reshape(*kernel, channels, -1)
        y = tf.nn.depthwise_conv2d(x.tensor, filters, [1, *strides, 1], pads, dilations=dilations)
    else:
        raise NotImplementedError(f"a convolution in {group} groups of {channels} channels")
    return Value(y if bias is None else tf.nn.bias_add(y, bias), True)


def conv_transpose(attributes, x: Value, weights: np.ndarray, bias: np.ndarray | None = None) -> Value:
    strides, more = attributes.get("strides", [1, 1]), attributes.get("output_padding", [0, 0])
    if any(attributes.get("pads", [0])) or attributes.get("group", 1) != 1 or any(d != 1 for d in attributes.get("dilations", [1])):
        raise NotImplementedError("ConvTranspose with pads, groups or dilations")
    items, *size, _ = x.tensor.shape.as_list()
    high, wide = ((size[i] - 1) * strides[i] + weights.shape[2 + i] + more[i] for i in range(2))
    shape = [items, high, wide, weights.shape[1]]
    y = tf.nn.conv2d_transpose(x.tensor, weights.transpose(2, 3, 1, 0), shape, strides, "VALID")
    return Value(y if bias is None else tf.nn.bias_add(y, bias), True)


def instance_normalization(attributes, x: Value, scale: np.ndarray, bias: np.ndarray) -> Value:
    mean = tf.reduce_mean(x.tensor, [1, 2], keepdims=True)
    variance = tf.reduce_mean(tf.math.squared_difference(x.tensor, mean), [1, 2], keepdims=True)
    factor = tf.math.rsqrt(variance + np.float32(attributes.get("epsilon", 1e-5))) * scale
    return Value(x.tensor * factor + (bias - mean * factor), True)


def pad(attributes, x: Value, pads: np.ndarray, value=0, _axes=None) -> Value:
    mode = {b"constant": "CONSTANT", b"reflect": "REFLECT"}.get(attributes.get("mode", b"constant"))
    if mode is None or _axes is not None:
        raise NotImplementedError("Pad of chosen axes, or by repeating the edge")
    half = len(pads) // 2
    pairs = [[int(pads[axis]), int(pads[axis + half])] for axis in (TO_NHWC if x.nhwc else range(half))]
    return Value(tf.pad(x.tensor, pairs, mode, float(value)), x.nhwc)


def max_pool(attributes, x: Value) -> Value:
    kernel, strides = attributes["kernel_shape"], attributes.get("strides", [1, 1])
    pads, tensor = padding(attributes, x.tensor.shape.as_list()[1:3], kernel, strides, [1, 1]), x.tensor
    if isinstance(pads, list):
        if not x.positive:
            raise NotImplementedError("a maximum over a padded input that may be negative")
        pads, tensor = "VALID", tf.pad(tensor, pads)
    return Value(tf.nn.max_pool2d(tensor, kernel, strides, pads), True, positive=x.positive)


def global_average_pool(_attributes, x: Value) -> Value:
    return Value(tf.reduce_mean(x.tensor, [1, 2], keepdims=True), True)


def flatten(x: Value) -> Value:
    """Rows in the order of the memory, which a following matrix product allows for."""
    _, h, w, c = x.tensor.shape
    return Value(tf.reshape(x.tensor, [-1, h * w * c]), flat=None if h * w == 1 else (c, h, w))


def reshape(_attributes, x: Value, shape: np.ndarray) -> Value:
    dims = onnx_shape(x)
    target = [dims[i] if size == 0 else int(size) for i, size in enumerate(shape)]
    if -1 in target:
        target[target.index(-1)] = int(np.prod(dims) // -np.prod(target))
    if x.nhwc and target == [dims[0], int(np.prod(dims[1:]))]:
        return flatten(x)
    return Value(tf.reshape(plain(x), target))


def flatten_operator(attributes, x: Value) -> Value:
    axis = attributes.get("axis", 1)
    return reshape({}, x, np.array([int(np.prod(onnx_shape(x)[:axis])), -1]))


def matmul(x: Value, weights: np.ndarray) -> tf.Tensor:
    tensor = x.tensor if x.flat is not None else plain(x)
    if x.flat is not None:
        weights = weights.reshape(*x.flat, -1).transpose(1, 2, 0, 3).reshape(weights.shape)
    return tf.linalg.matmul(tensor, weights)


def gemm(attributes, x: Value, weights: np.ndarray, bias: np.ndarray | None = None) -> Value:
    if attributes.get("transA") or attributes.get("alpha", 1) != 1 or attributes.get("beta", 1) != 1:
        raise NotImplementedError("Gemm with transA, alpha or beta")
    y = matmul(x, weights.T if attributes.get("transB") else weights)
    return Value(y if bias is None else tf.nn.bias_add(y, bias.reshape(-1)))


def transpose(attributes, x: Value) -> Value:
    perm = list(attributes["perm"])
    return Value(x.tensor) if x.nhwc and perm == TO_NHWC else Value(tf.transpose(plain(x), perm))


def concat(attributes, *values) -> Value:
    tensors, images = same_layout(list(values))
    return Value(tf.concat(tensors, axis_of(Value(tensors[0], images), attributes["axis"])), images)


def split(attributes, x: Value, sizes: np.ndarray | None = None) -> list[Value]:
    if sizes is None:
        raise NotImplementedError("Split without sizes")
    parts = tf.split(x.tensor, [int(size) for size in sizes], axis_of(x, attributes.get("axis", 0)))
    return [Value(part, x.nhwc) for part in parts]


def slice_operator(_attributes, x: Value, starts, ends, axes=None, steps=None) -> Value:
    if steps is not None and any(step < 1 for step in steps):
        raise NotImplementedError("Slice backwards")
    dims = x.tensor.shape.as_list()
    index = [slice(None)] * len(dims)
    for i, axis in enumerate(range(len(starts)) if axes is None else axes):
        at = axis_of(x, int(axis))
        index[at] = slice(*slice(int(starts[i]), int(ends[i]), None if steps is None else int(steps[i])).indices(dims[at]))
    return Value(x.tensor[tuple(index)], x.nhwc)


def resize(attributes, x: Value, _roi=None, scales=None, sizes=None) -> Value:
    if (attributes.get("mode"), attributes.get("coordinate_transformation_mode")) != (b"nearest", b"asymmetric"):
        raise NotImplementedError("Resize other than to the nearest by asymmetric coordinates")
    dims = onnx_shape(x)
    size = sizes[2:] if sizes is not None else [round(dims[i] * scales[i]) for i in (2, 3)]
    return Value(tf.compat.v1.image.resize_nearest_neighbor(x.tensor, [int(n) for n in size]), True)


def softmax(attributes, x: Value) -> Value:
    return Value(tf.nn.softmax(x.tensor, axis_of(x, attributes.get("axis", -1))), x.nhwc)


def reduce_sum(attributes, x: Value, axes: np.ndarray) -> Value:
    keep = bool(attributes.get("keepdims", 1))
    if keep:
        return Value(tf.reduce_sum(x.tensor, [axis_of(x, int(axis)) for axis in axes], keepdims=True), x.nhwc)
    return Value(tf.reduce_sum(plain(x), [int(axis) for axis in axes]))


OPERATORS = {
    "Add": elementwise(tf.add),
    "Clip": clip,
    "Concat": concat,
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "Div": elementwise(tf.divide),
    "Dropout": activation(tf.identity),
    "Exp": activation(tf.exp),
    "Flatten": flatten_operator,
    "Gemm": gemm,
    "GlobalAveragePool": global_average_pool,
    "HardSigmoid": hard_sigmoid,
    "HardSwish": activation(lambda x: x * tf.nn.relu6(x + np.float32(3)) * np.float32(1 / 6)),
    "InstanceNormalization": instance_normalization,
    "MatMul": lambda _attributes, x, weights: Value(matmul(x, weights)),
    "MaxPool": max_pool,
    "Mul": elementwise(tf.multiply),
    "Pad": pad,
    "ReduceSum": reduce_sum,
    "Relu": activation(tf.nn.relu, positive=True),
    "Reshape": reshape,
    "Resize": resize,
    "Sigmoid": activation(tf.sigmoid),
    "Slice": slice_operator,
    "Softmax": softmax,
    "Split": split,
    "Sub": elementwise(tf.subtract),
    "Tanh": activation(tf.tanh),
    "Transpose": transpose,
}
