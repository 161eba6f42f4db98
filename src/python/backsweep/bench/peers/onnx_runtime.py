"""ONNX Runtime, its input and output bound once to arrays, so that a call copies nothing."""

from __future__ import annotations

import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from backsweep._checks import Array
from backsweep.bench.workloads import AnyWorkload, Forward

OPSET = 17


def model(w: AnyWorkload) -> onnx.ModelProto:
    """Z[i+1] = relu(Z[i] W[i] + b[i]), the last without relu."""
    nodes, tensors = [], []
    last = len(w.widths) - 2
    for i, (W, b) in enumerate(w.parameters()):
        tensors += [numpy_helper.from_array(W, f"W{i}"), numpy_helper.from_array(b, f"b{i}")]
        output = f"Z{i + 1}" if i == last else f"A{i}"
        nodes.append(helper.make_node("Gemm", [f"Z{i}", f"W{i}", f"b{i}"], [output]))
        if i < last:
            nodes.append(helper.make_node("Relu", [f"A{i}"], [f"Z{i + 1}"]))
    shapes = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [w.batch_size, width])
        for name, width in (("Z0", w.widths[0]), (f"Z{last + 1}", w.widths[-1]))
    ]
    graph = helper.make_graph(nodes, "network", shapes[:1], shapes[1:], tensors)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    proto.ir_version = 8  # of the operators' time; newer ones an older runtime would refuse
    onnx.checker.check_model(proto)
    return proto


class Predictor:
    def __init__(self, w: Forward, X: Array, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        proto = model(w).SerializeToString()
        self.session = onnxruntime.InferenceSession(proto, options, providers=["CPUExecutionProvider"])
        self.Z = onnxruntime.OrtValue.ortvalue_from_shape_and_type([len(X), w.widths[-1]], "float32", "cpu")
        self.output: Array = self.Z.numpy()
        self.binding = self.session.io_binding()
        self.binding.bind_cpu_input("Z0", X)
        self.binding.bind_ortvalue_output(f"Z{len(w.widths) - 1}", self.Z)

    def forward(self) -> Array:
        self.session.run_with_iobinding(self.binding)
        return self.output
