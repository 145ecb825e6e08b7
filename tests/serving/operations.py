"""The operations that an export may hold, by what they are for: each one is TensorFlow's own, in every model server.

A new one belongs here only where a stock TensorFlow Serving has it, and where it draws nothing without a seed, touches
no file but the saver's and the vocabulary tables, and runs no Python.
"""

VARIABLES = """VarHandleOp VarIsInitializedOp ReadVariableOp AssignVariableOp DisableCopyOnRead ResourceGather"""
SAVER = """SaveV2 RestoreV2 MergeV2Checkpoints ShardedFilename"""
TABLES = """HashTableV2 InitializeTableFromTextFileV2 LookupTableFindV2 LookupTableImportV2"""
FLOW = """
    Assert Const Identity If NoOp Placeholder StatefulPartitionedCall StatelessWhile StopGradient While
    TensorListFromTensor TensorListGetItem TensorListReserve TensorListSetItem TensorListStack
"""
SHAPES = """
    BroadcastTo ConcatV2 EnsureShape ExpandDims Fill GatherV2 OneHot OnesLike Pack Pad PadV2 RaggedGather RaggedRange
    RaggedTensorToTensor Range Reshape ReverseV2 ScatterNd Shape Split SplitV Squeeze StridedSlice TensorScatterMin Tile
    Transpose Unpack Where ZerosLike
"""
NUMBERS = """
    AddN AddV2 BatchMatMulV2 BiasAdd BitwiseOr Cast Cumsum DivNoNan Einsum Erfc Exp Expm1 Floor FloorDiv
    FusedBatchNormV3 IsFinite LeftShift Log Log1p MatMul Max Maximum Mean Minimum Mul Neg Prod RealDiv Relu Rsqrt
    Sigmoid Softmax Softplus Square Sub Sum Tanh UnsortedSegmentSum
"""
CHOICES = """
    All Any ArgMax Equal Greater GreaterEqual Less LessEqual LogicalAnd LogicalNot NotEqual Select SelectV2 TopKV2
"""
DRAWS = """StatelessRandomUniformFullIntV2 StatelessRandomUniformV2"""
TEXT = """
    AsString StaticRegexFullMatch StringJoin StringLower StringStrip StringToHashBucketFast StringToHashBucketStrong
    Substr UnicodeDecode UnicodeEncode UnicodeTranscode
"""

ALLOWED = frozenset(" ".join((VARIABLES, SAVER, TABLES, FLOW, SHAPES, NUMBERS, CHOICES, DRAWS, TEXT)).split())
