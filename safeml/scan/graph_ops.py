"""Which operators a classifier's graph may use, as data. What is not named here is refused."""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ONNX_OPSETS = (7, 25)
"""Oldest and newest accepted version of the default operator set."""

# Left out on purpose, though standard:
#   Loop, Scan, SequenceMap, LSTM, GRU, RNN    the file does not bound how long they run; no image classifier needs them
#   RandomNormal and kin, Bernoulli, Multinomial    other outputs for the same image each time
#   Sequence*, Optional*, Split/ConcatFromSequence    values that are no tensors
#   String*, RegexFullMatch, TfIdfVectorizer, ImageDecoder    text and encoded files: parsers of untrusted bytes
#   NonMaxSuppression, Unique, NonZero, Compress, RoiAlign, MaxRoiPool    outputs whose size depends on the pixels
#   *Loss, MaxUnpool, MelWeightMatrix, STFT, DFT, *Window    training, segmentation and sound
ONNX_OPS = _words(
    """
    Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh Attention AveragePool BatchNormalization BitShift
    BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast CastLike Ceil Celu Clip Concat Constant ConstantOfShape Conv
    ConvInteger ConvTranspose Cos Cosh CumSum DepthToSpace DequantizeLinear Div Dropout DynamicQuantizeLinear Einsum Elu
    Equal Erf Exp Expand EyeLike Flatten Floor Gather GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalLpPool
    GlobalMaxPool Greater GreaterOrEqual GroupNormalization HardSigmoid HardSwish Hardmax Identity If
    InstanceNormalization IsInf IsNaN LRN LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax LpNormalization
    LpPool MatMul MatMulInteger Max MaxPool Mean MeanVarianceNormalization Min Mish Mod Mul Neg Not OneHot Or PRelu Pad
    Pow QLinearConv QLinearMatMul QuantizeLinear RMSNormalization Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum
    ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize Round
    ScatterElements ScatterND Selu Shape Shrink Sigmoid Sign Sin Sinh Size Slice Softmax Softplus Softsign SpaceToDepth
    Split Sqrt Squeeze Sub Sum Swish Tan Tanh ThresholdedRelu Tile TopK Transpose Trilu Unsqueeze Upsample Where Xor
    """
)

# TensorFlow has some 1,500 operators, among them ones that read and write files, open sockets, run Python and load
# libraries. Also left out: tables, queues, datasets and iterators; While (not bounded); everything on text.
TF_INFERENCE_OPS = _words(
    """
    Abs Acos Acosh Add AddN AddV2 All Any ArgMax ArgMin Asin Asinh Atan Atan2 Atanh AvgPool BatchMatMul BatchMatMulV2
    BatchMatMulV3 BatchToSpaceND BiasAdd BroadcastArgs BroadcastTo Cast Ceil ClipByValue Concat ConcatV2 Const Conv2D
    Cos Cosh Cumsum DepthToSpace DepthwiseConv2dNative Div DivNoNan Einsum Elu EnsureShape Equal Erf Erfc Exp ExpandDims
    Expm1 FakeQuantWithMinMaxArgs FakeQuantWithMinMaxVars FakeQuantWithMinMaxVarsPerChannel Fill Floor FloorDiv FloorMod
    FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3 Gather GatherNd GatherV2 Greater GreaterEqual Identity IdentityN
    Inv IsFinite IsInf IsNan L2Loss LRN LeakyRelu Less LessEqual Log Log1p LogSoftmax LogicalAnd LogicalNot LogicalOr
    MatMul Max MaxPool MaxPoolV2 Maximum Mean Min Minimum MirrorPad Mul MulNoNan Neg NoOp NotEqual OneHot OnesLike Pack
    Pad PadV2 PartitionedCall Placeholder PlaceholderWithDefault Pow PreventGradient Prod QuantizeAndDequantizeV2
    QuantizeAndDequantizeV3 QuantizeAndDequantizeV4 Range Rank ReadVariableOp RealDiv Reciprocal Relu Relu6 Reshape
    ResizeArea ResizeBicubic ResizeBilinear ResizeNearestNeighbor Reverse ReverseV2 Rint Round Rsqrt ScaleAndTranslate
    Select SelectV2 Selu Shape ShapeN Sigmoid Sign Sin Sinh Size Slice Softmax Softplus Softsign SpaceToBatchND
    SpaceToDepth Split SplitV Sqrt Square SquaredDifference Squeeze StatefulPartitionedCall StopGradient StridedSlice Sub
    Sum Tan Tanh Tile TopKV2 Transpose TruncateDiv Unpack VarHandleOp VarIsInitializedOp Where Xdivy Xlogy ZerosLike
    """
)

# Keras 2 also stores the training call of every layer: dropout and batch statistics. They touch the model's own variables
# and nothing else; a model that used them at inference is refused for outputs that differ from call to call.
TF_TRAINING_OPS = _words(
    """
    AssignAddVariableOp AssignSubVariableOp AssignVariableOp DisableCopyOnRead RandomStandardNormal RandomUniform
    RandomUniformInt StatelessRandomGetAlg StatelessRandomGetKeyCounter StatelessRandomNormalV2 StatelessRandomUniformV2
    StatelessTruncatedNormalV2 TruncatedNormal
    """
)

# Only in the functions of the saver; see saved_model.py. The first three touch files, the rest make their names.
TF_CHECKPOINT_OPS = _words(
    "MergeV2Checkpoints RestoreV2 SaveV2 ShardedFilename StaticRegexFullMatch StringJoin"
)

# Random augmentation of Keras 2 at training time, with its generators and control flow. Only in functions that serving does
# not reach, which are never run. While stays out: nothing bounds it.
TF_UNREACHED_OPS = _words(
    """
    AdjustContrastv2 AdjustHue AdjustSaturation Bitcast BitwiseAnd BitwiseOr BitwiseXor Case HSVToRGB If
    ImageProjectiveTransformV2 ImageProjectiveTransformV3 Multinomial RGBToHSV RandomShuffle RandomUniformInt
    RightShift RngReadAndSkip RngSkip StatefulStandardNormalV2 StatefulUniform StatefulUniformFullInt StatefulUniformInt
    StatelessCase StatelessIf StatelessMultinomial StatelessParameterizedTruncatedNormal StatelessRandomGetKeyCounterAlg
    StatelessRandomNormal StatelessRandomUniform StatelessRandomUniformFullInt StatelessRandomUniformFullIntV2
    StatelessRandomUniformInt StatelessRandomUniformIntV2 StatelessShuffle StatelessTruncatedNormal
    StatefulTruncatedNormal
    """
)

TF_OPS = TF_INFERENCE_OPS | TF_TRAINING_OPS
