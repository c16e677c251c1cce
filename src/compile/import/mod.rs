//! ONNX to the graph, by way of tract.
