"""TensorFlow Serving's gRPC API on this machine, with a session behind it."""

import contextlib
from collections.abc import Iterator, Mapping
from concurrent import futures

import grpc
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from tests.export.servable import Servable


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Answers and refuses as Serving's ``predict_util.cc`` does."""

    def __init__(self, servables: Mapping[str, Servable]) -> None:
        self._servables = servables

    def Predict(self, request, context) -> predict_pb2.PredictResponse:
        asked = request.model_spec
        if asked.name not in self._servables or asked.version.value not in (0, 1):
            context.abort(grpc.StatusCode.NOT_FOUND, f"Servable not found: {asked.name}")
        servable = self._servables[asked.name]
        name = asked.signature_name or "serving_default"
        if name not in servable.signatures:
            context.abort(
                grpc.StatusCode.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.'
            )
        if request.inputs.keys() != servable.signatures[name].inputs.keys():
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "input size does not match signature")
        inputs = {key: tf.make_ndarray(tensor) for key, tensor in request.inputs.items()}
        response = predict_pb2.PredictResponse()
        for key, value in servable.run(name, inputs).items():
            response.outputs[key].CopyFrom(tf.make_tensor_proto(value))
        return response


@contextlib.contextmanager
def serve(servables: Mapping[str, Servable]) -> Iterator[str]:
    """Serves models by name and yields host and port; version 1 is the only one of each."""
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        PredictionService(servables), server
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(grace=None).wait()
