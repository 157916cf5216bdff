"""What keeps a step from running on a TPU, found on a CPU.

A TPU runs what XLA compiles, and XLA compiles a function for one set of shapes, without strings and
without going back to Python. A layer that breaks a rule works everywhere else, and on the TPU ends
in an error of many lines. The same compiler comes with every TensorFlow, so the mistake can be
found, and named, before the hardware is rented::

    step = build_train_step(model, optimizer, loss, StepOptions(dense_gradients=True))
    for obstacle in find_xla_obstacles(step, batch):
        print(obstacle)

An empty answer is no promise: some operations are compiled for a CPU only, and memory is another
matter.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import tensorflow as tf


class Obstacle(NamedTuple):
    """One operation that cannot run on a TPU.

    Attributes:
      operation: its kind, such as ``Unique``.
      path: its name in the graph; the names of the model and of the layer stand in it.
      reason: why.
    """

    operation: str
    path: str
    reason: str

    def __str__(self) -> str:
        """Returns one line for people."""
        return f"{self.operation} in {self.path}: {self.reason}"


def find_xla_obstacles(function: Callable, *arguments: Any) -> list[Obstacle]:
    """Finds what keeps a function from being compiled for fixed shapes.

    Nothing is computed, and no variable changes.

    Args:
      function: a Python function of tensors, such as what ``build_train_step`` returns. Variables
        that it uses must exist already.
      *arguments: a batch of the shapes that it will see, as tensors or ``tf.TensorSpec``.

    Returns:
      the strings and the dimensions that are unknown, each where it comes from, in the order of the
      graph; or, if there are none, the operations that XLA does not know. Empty if it compiles.

    >>> find_xla_obstacles(tf.nn.relu, tf.zeros([2]))
    []
    >>> for obstacle in find_xla_obstacles(lambda x: tf.unique(x).y, tf.zeros([2])):
    ...     print(obstacle)
    Unique in Unique: a dimension is known only when it runs: (None,)
    """
    flat = tf.nest.flatten(arguments)  # all that the compiler's interface takes

    @tf.function(jit_compile=True)
    def compiled(*tensors: Any) -> Any:
        return function(*tf.nest.pack_sequence_as(arguments, tensors))

    concrete = compiled.get_concrete_function(*flat)
    obstacles = [
        obstacle
        for nodes in _functions(concrete.graph.as_graph_def(add_shapes=True))
        for obstacle in _unfit_nodes(nodes)
    ]
    return obstacles or _refused_by_compiler(compiled, flat)


def _functions(graph_def: Any) -> Iterator[Iterable]:
    """Yields the nodes of a graph, then those of each function in it, such as a loop's body."""
    yield graph_def.node
    for function in graph_def.library.function:
        yield function.node_def


def _unfit_nodes(nodes: Iterable) -> Iterator[Obstacle]:
    """Yields the nodes with strings, and those from which unknown dimensions come."""
    unknown = set()
    for node in nodes:
        # XLA leaves assertions out, and with them the strings that they would print.
        if node.op in ("Assert", "Const"):
            continue
        if any(_is_string(value) for value in node.attr.values()):
            yield Obstacle(node.op, node.name, "a TPU has no strings: look them up before")
            continue
        shapes = [tf.TensorShape(shape) for shape in node.attr["_output_shapes"].list.shape]
        dynamic = [shape for shape in shapes if not shape.is_fully_defined()]
        if dynamic:
            sources = {name.removeprefix("^").split(":")[0] for name in node.input}
            if not sources & unknown:
                reason = f"a dimension is known only when it runs: {dynamic[0]}"
                yield Obstacle(node.op, node.name, reason)
            unknown.add(node.name)


def _is_string(value: Any) -> bool:
    return tf.string.as_datatype_enum in (value.type, *value.list.type)


def _refused_by_compiler(compiled: Any, arguments: list) -> list[Obstacle]:
    try:
        # Up to XLA's own language: translating from there to a CPU's would take longest.
        compiled.experimental_get_compiler_ir(*arguments)(stage="hlo")
    except (tf.errors.OpError, ValueError) as error:
        message = str(error)
        unknown = re.findall(r"No registered '(\w+)' OpKernel[^{]*\{\{node ([^}]+)\}\}", message)
        if unknown:
            reason = "XLA cannot compile it"
            return [Obstacle(*found, reason=reason) for found in dict.fromkeys(unknown)]
        varying = re.search(r"Input (\d+) to node `([^`]+)` with op (\w+) must be a", message)
        if varying:
            number, path, operation = varying.groups()
            return [Obstacle(operation, path, f"XLA must know its input {number} when it compiles")]
        return [Obstacle("something", "the function", message.partition("\n")[0])]
    return []
