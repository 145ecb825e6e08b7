"""Stands for TensorFlow Serving's binary, which no package index has: its gRPC over a loaded SavedModel.

What it answers comes from the export's own signatures, over a real connection, in its own messages; how the binary puts
requests together is not shown by it. `Labelled` takes a models.config as the binary's server core does.
"""

import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import tensorflow as tf
import tensorflow_text  # noqa: F401  (its ops are in the export)
from google.protobuf import text_format
from tensorflow.core.framework import tensor_shape_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2, prediction_service_pb2_grpc
from tensorflow_serving.config import model_server_config_pb2

LABEL = "stable"


class StandIn(prediction_service_pb2_grpc.PredictionServiceServicer):
    """One version under one label.

    Args:
      folder: the version's folder.

    Attributes:
      version: what it says it is.
      asked: names of the signatures that were asked, with their batch sizes.
      fails: status code that `Predict` ends with, None = it answers.
    """

    def __init__(self, folder):
        self.signatures = tf.saved_model.load(str(folder)).signatures
        self.version, self.asked, self.fails = int(folder.name), [], None
        self._turn = threading.Lock()  # TensorFlow's eager runtime has died of a first call from three threads

    def Predict(self, request, context):  # noqa: N802  (the service's name)
        self._check(request.model_spec, context)
        if self.fails is not None:
            context.abort(self.fails, "as the test says")
        inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
        name, rows = request.model_spec.signature_name, {len(value) for value in inputs.values()}
        self.asked.append((name, max(rows)))
        if len(rows) > 1:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "inputs of different lengths")
        response = predict_pb2.PredictResponse()
        self._describe(response.model_spec, name)
        self.answered(name)
        with self._turn:
            outputs = self.signatures[name](**{key: tf.constant(value) for key, value in inputs.items()})
        for key, value in outputs.items():
            if not request.output_filter or key in request.output_filter:
                response.outputs[key].CopyFrom(self._repeated(value))
        return response

    def GetModelMetadata(self, request, context):  # noqa: N802  (the service's name)
        self._check(request.model_spec, context)
        found = get_model_metadata_pb2.SignatureDefMap()
        for name, function in self.signatures.items():
            for key, spec in function.structured_input_signature[1].items():
                sizes = [tensor_shape_pb2.TensorShapeProto.Dim(size=size or -1) for size in spec.shape]
                found.signature_def[name].inputs[key].tensor_shape.dim.extend(sizes)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        self._describe(response.model_spec, "")
        response.metadata["signature_def"].Pack(found)
        return response

    def answered(self, signature):
        """What a test puts in its place happens in the middle of a batch."""

    def _check(self, spec, context):
        wanted = spec.version.value if spec.HasField("version") else spec.version_label
        if spec.name != "recommender" or wanted not in (LABEL, self.version):
            context.abort(grpc.StatusCode.NOT_FOUND, "no such model, label or version")

    def _describe(self, spec, signature):
        spec.name, spec.signature_name, spec.version.value = "recommender", signature, self.version

    @staticmethod
    def _repeated(value):
        """A tensor in the repeated fields that the binary answers with, not in its bytes."""
        proto = tf.make_tensor_proto(value.numpy())
        if proto.tensor_content:
            kind = {tf.float32: "float_val", tf.int32: "int_val", tf.bool: "bool_val"}[value.dtype]
            proto.ClearField("tensor_content")
            getattr(proto, kind).extend(value.numpy().ravel().tolist())
        return proto


class Labelled:
    """Versions and labels as `ServerCore::ReloadConfig` keeps them, with --allow_version_labels_for_unavailable_models.

    Attributes:
      labels: label -> version.
      wanted: versions that are being loaded, or are.
      available: those that answer.
    """

    def __init__(self):
        self.labels, self.wanted, self.available = {}, set(), set()

    def reload(self, text):
        """Takes a models.config over: its labels first, and where one of them is refused nothing else.

        Raises:
          RuntimeError: a label that there was already points to a version that is not loaded.
        """
        (config,) = text_format.Parse(text, model_server_config_pb2.ModelServerConfig()).model_config_list.config
        for label, version in config.version_labels.items():
            if self.labels.get(label, version) != version and version not in self.available:
                raise RuntimeError(f"FAILED_PRECONDITION: label {label}, version {version} is not available")
        self.labels = dict(config.version_labels)
        self.wanted = set(config.model_version_policy.specific.versions)
        self.available &= self.wanted

    def load(self):
        """Ends the loading of what is wanted."""
        self.available = set(self.wanted)


def serve(stand_in, port=0):
    """A started gRPC server over a stand-in, and its port."""
    server = grpc.server(ThreadPoolExecutor(4))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(stand_in, server)
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    return server, port
