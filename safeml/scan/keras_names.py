"""Which public Keras classes a model file may name: the allow-list, and what is left out of it with the reason.

A class that is not here is refused. A new Keras release adds names: each goes into one of the two lists by hand, after a look
at what its constructor does (a test compares the lists with the installed Keras).
"""

from __future__ import annotations


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


LAYERS = _names(
    "Activation ActivityRegularization AdaptiveAveragePooling1D AdaptiveAveragePooling2D AdaptiveAveragePooling3D "
    "AdaptiveMaxPooling1D AdaptiveMaxPooling2D AdaptiveMaxPooling3D Add AdditiveAttention AlphaDropout Attention AugMix "
    "AutoContrast Average AveragePooling1D AveragePooling2D AveragePooling3D AvgPool1D AvgPool2D AvgPool3D BatchNormalization "
    "Bidirectional CenterCrop Concatenate ContrastLimitedAdaptiveHistogramEqualization Conv1D Conv1DTranspose Conv2D "
    "Conv2DTranspose Conv3D Conv3DTranspose ConvLSTM1D ConvLSTM2D ConvLSTM3D Convolution1D Convolution1DTranspose Convolution2D "
    "Convolution2DTranspose Convolution3D Convolution3DTranspose Cropping1D Cropping2D Cropping3D CutMix Dense DepthwiseConv1D "
    "DepthwiseConv2D Discretization Dot Dropout ELU EinsumDense Embedding Equalization Flatten GRU GRUCell GaussianDropout "
    "GaussianNoise GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D GlobalAvgPool1D GlobalAvgPool2D "
    "GlobalAvgPool3D GlobalMaxPool1D GlobalMaxPool2D GlobalMaxPool3D GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D "
    "GroupNormalization GroupQueryAttention Identity InputLayer LSTM LSTMCell LayerNormalization LeakyReLU Masking MaxPool1D "
    "MaxPool2D MaxPool3D MaxPooling1D MaxPooling2D MaxPooling3D Maximum Minimum MixUp MultiHeadAttention Multiply Normalization "
    "PReLU Permute RMSNormalization RNN RandAugment RandomBrightness RandomColorDegeneration RandomColorJitter RandomContrast "
    "RandomCrop RandomElasticTransform RandomErasing RandomFlip RandomGaussianBlur RandomGrayscale RandomHue RandomInvert "
    "RandomPerspective RandomPosterization RandomRotation RandomSaturation RandomSharpness RandomShear RandomTranslation "
    "RandomZoom ReLU RepeatVector Rescaling Reshape Resizing SeparableConv1D SeparableConv2D SeparableConvolution1D "
    "SeparableConvolution2D SimpleRNN SimpleRNNCell Softmax Solarization SpatialDropout1D SpatialDropout2D SpatialDropout3D "
    "SpectralNormalization StackedRNNCells Subtract TimeDistributed UnitNormalization UpSampling1D UpSampling2D UpSampling3D "
    "ZeroPadding1D ZeroPadding2D ZeroPadding3D"
)

# Networks of keras.applications have three layers of their own.
LAYERS_OF_APPLICATIONS = _names("LayerScale StochasticDepth CustomScaleLayer")

CODE = "runs code that comes with the file"
ELSEWHERE = "loads a model or code from somewhere else"
TABLES = "reads a vocabulary, and is not for images"
OTHER = "is not part of an image classifier"
REFUSED_LAYERS = {
    "Lambda": CODE,
    "TFSMLayer": ELSEWHERE,
    "TorchModuleWrapper": CODE,
    "JaxLayer": CODE,
    "FlaxLayer": CODE,
    "StringLookup": TABLES,
    "IntegerLookup": TABLES,
    "TextVectorization": TABLES,
    "Hashing": TABLES,
    "HashedCrossing": TABLES,
    "CategoryEncoding": TABLES,
    "Layer": "is an abstract base",
    "Wrapper": "is an abstract base",
    "InputSpec": "is not a layer",
    "MaxNumBoundingBoxes": OTHER,
    "MelSpectrogram": OTHER,
    "Pipeline": OTHER,
    "ReversibleEmbedding": OTHER,
    "STFTSpectrogram": OTHER,
}

# Keras 2 wrapped operations of TensorFlow in these. They are Keras's own.
OPERATION_LAYERS = _names(
    "TFOpLambda SlicingOpLambda ClassMethod InstanceMethod InstanceProperty TensorFlowOpLayer"
)

INITIALIZERS = _names(
    "Constant GlorotNormal GlorotUniform HeNormal HeUniform Identity IdentityInitializer LecunNormal LecunUniform Ones Orthogonal "
    "OrthogonalInitializer RandomNormal RandomUniform STFT STFTInitializer TruncatedNormal VarianceScaling Zeros"
)
REGULARIZERS = _names("L1 L1L2 L2 OrthogonalRegularizer")
CONSTRAINTS = _names("MaxNorm MinMaxNorm NonNeg UnitNorm")
LOSSES = _names(
    "BinaryCrossentropy BinaryFocalCrossentropy CTC CategoricalCrossentropy CategoricalFocalCrossentropy "
    "CategoricalGeneralizedCrossEntropy CategoricalHinge Circle CosineSimilarity Dice Hinge Huber KLDivergence LogCosh "
    "MeanAbsoluteError MeanAbsolutePercentageError MeanSquaredError MeanSquaredLogarithmicError Poisson "
    "SparseCategoricalCrossentropy SquaredHinge Tversky"
)
METRICS = _names(
    "AUC Accuracy BinaryAccuracy BinaryCrossentropy BinaryIoU CategoricalAccuracy CategoricalCrossentropy CategoricalHinge "
    "ConcordanceCorrelation CosineSimilarity F1Score FBetaScore FalseNegatives FalsePositives Hinge IoU KLDivergence LogCoshError "
    "Mean MeanAbsoluteError MeanAbsolutePercentageError MeanIoU MeanSquaredError MeanSquaredLogarithmicError OneHotIoU "
    "OneHotMeanIoU PearsonCorrelation Poisson Precision PrecisionAtRecall R2Score Recall RecallAtPrecision RootMeanSquaredError "
    "SensitivityAtSpecificity SparseCategoricalAccuracy SparseCategoricalCrossentropy SparseTopKCategoricalAccuracy "
    "SpecificityAtSensitivity SquaredHinge Sum TopKCategoricalAccuracy TrueNegatives TruePositives"
)
OPTIMIZERS = _names(
    "Adadelta Adafactor Adagrad Adam AdamW Adamax Ftrl Lamb Lion LossScaleOptimizer Muon Nadam RMSprop SGD "
    "ScheduleFreeAdamW"
)
SCHEDULES = _names(
    "CosineDecay CosineDecayRestarts ExponentialDecay InverseTimeDecay PiecewiseConstantDecay PolynomialDecay"
)
POLICIES = _names("DTypePolicy FloatDTypePolicy DTypePolicyMap")
# What `model.quantize` leaves in a configuration, and the mode that it belongs to.
QUANTISED = {
    "QuantizedDTypePolicy": "int8",
    "QuantizedFloat8DTypePolicy": "float8",
    "Int4DTypePolicy": "int4",
    "GPTQDTypePolicy": "gptq",
    "AWQDTypePolicy": "awq",
}
MODELS = _names("Sequential Functional Model")
ACTIVATIONS = _names(
    "celu elu exponential gelu glu hard_shrink hard_sigmoid hard_silu hard_swish hard_tanh leaky_relu linear log_sigmoid "
    "log_softmax mish relu relu6 selu sigmoid silu soft_shrink softmax softplus softsign sparse_plus sparse_sigmoid sparsemax "
    "squareplus swish tanh tanh_shrink threshold"
)
# What arithmetic on Keras tensors leaves in a functional model (`x * 2` is a Multiply). Control flow takes functions: left out.
NUMPY_OPERATIONS = _names(
    "Abs Absolute Add Amax Amin Average BroadcastTo Ceil Clip Concatenate Divide DivideNoNan Dot Einsum Equal Exp ExpandDims Flip "
    "Floor GetItem Greater GreaterEqual Less LessEqual Log Log1p Matmul Max Maximum Mean Min Minimum Mod Moveaxis Multiply "
    "Negative NotEqual Pad Power Prod Ravel Reciprocal Repeat Reshape Roll Round Sign Split Sqrt Square Squeeze Stack Std "
    "Subtract Sum Swapaxes Take Tanh Tensordot Tile Transpose TrueDivide Var Where"
)
NN_OPERATIONS = _names(
    "AdaptiveAveragePool AdaptiveMaxPool AveragePool BatchNorm Celu Conv ConvTranspose DepthToSpace DepthwiseConv "
    "DotProductAttention Elu Gelu Glu HardShrink HardSigmoid HardSilu HardTanh LayerNorm LeakyRelu LogSigmoid LogSoftmax MaxPool "
    "Moments Normalize RMSNorm Relu Relu6 Selu SeparableConv Sigmoid Silu SoftShrink Softmax Softplus Softsign SpaceToDepth "
    "SparsePlus SparseSigmoid Sparsemax Squareplus TanhShrink Threshold"
)
MATH_OPERATIONS = _names("Erf Logsumexp Rsqrt TopK")
IMAGE_OPERATIONS = _names("CropImages PadImages Resize RGBToGrayscale RGBToHSV HSVToRGB")
CORE_OPERATIONS = _names("Cast Slice StopGradient Unstack")

# The layers of `safeml.int8.layers` and the arguments of each, which are all that its configuration may hold. A class that is
# added there needs its row here.
OWN_MODULE, OWN_PACKAGE = "safeml.int8.layers", "safeml"
_OF_KERNELS = _names(
    "activation activity_regularizer bias_constraint bias_initializer bias_regularizer data_format dilation_rate dtype "
    "kernel_size name padding strides trainable use_bias"
)
_OF_KERNEL = _names("kernel_constraint kernel_initializer kernel_regularizer")
OWN_LAYERS: dict[str, frozenset[str]] = {
    "ActivationQuantizer": _names("dtype momentum name sites trainable"),
    "MatrixProduct": _names("activity_regularizer autocast dtype name trainable"),
    "QuantizedConv2D": _OF_KERNELS | _OF_KERNEL | _names("filters groups"),
    "QuantizedConv2DTranspose": _OF_KERNELS | _OF_KERNEL | _names("filters output_padding"),
    "QuantizedDepthwiseConv2D": _OF_KERNELS
    | _names("depth_multiplier depthwise_constraint depthwise_initializer depthwise_regularizer"),
    "QuantizedDense": _OF_KERNEL
    | _names(
        "activation bias_constraint bias_initializer bias_regularizer dtype name quantization_config trainable units use_bias"
    ),
    "QuantizedEinsumDense": _OF_KERNEL
    | _names(
        "activation activity_regularizer bias_axes bias_constraint bias_initializer bias_regularizer dtype equation name "
        "output_shape quantization_config trainable"
    ),
}

# The exact modules under which Keras itself writes each class.
MODULES: dict[str, frozenset[str]] = {
    "keras": MODELS | POLICIES,
    "keras.models": MODELS,
    "keras.layers": LAYERS,
    "keras.initializers": INITIALIZERS,
    "keras.regularizers": REGULARIZERS,
    "keras.constraints": CONSTRAINTS,
    "keras.losses": LOSSES,
    "keras.metrics": METRICS,
    "keras.optimizers": OPTIMIZERS,
    "keras.optimizers.schedules": SCHEDULES,
    "keras.dtype_policies": POLICIES,
    "keras.src.models.functional": frozenset({"Functional"}),
    "keras.src.models.model": frozenset({"Model"}),
    "keras.src.models.sequential": frozenset({"Sequential"}),
    "keras.src.ops.numpy": NUMPY_OPERATIONS,
    "keras.src.ops.nn": NN_OPERATIONS,
    "keras.src.ops.math": MATH_OPERATIONS,
    "keras.src.ops.image": IMAGE_OPERATIONS,
    "keras.src.ops.core": CORE_OPERATIONS,
    "keras.src.applications.convnext": frozenset({"LayerScale", "StochasticDepth"}),
    "keras.src.applications.inception_resnet_v2": frozenset({"CustomScaleLayer"}),
}
# What Keras 2 wrote, in files that are made new before Keras 3 sees them.
OLD_MODULES: dict[str, frozenset[str]] = {
    "keras.engine.functional": MODELS,
    "keras.engine.sequential": MODELS,
    "keras.engine.training": MODELS,
    "keras.src.engine.functional": MODELS,
    "keras.src.engine.sequential": MODELS,
    "keras.src.engine.training": MODELS,
    "tf_keras.src.engine.functional": MODELS,
    "tf_keras.src.engine.sequential": MODELS,
    "tf_keras.src.engine.training": MODELS,
    "keras.mixed_precision": frozenset({"Policy"}),
    "tensorflow.python.ops.init_ops_v2": frozenset({"Constant"}),
}
# Plain values that Keras wraps; they hold numbers and names only.
VALUES = frozenset({"__keras_tensor__", "__tuple__", "__numpy__", "__ellipsis__", "__slice__"})
# Files of Keras 2 name no modules; there `Model` and `Functional` were one class.
WITHOUT_MODULE = (
    MODELS
    | LAYERS
    | INITIALIZERS
    | REGULARIZERS
    | CONSTRAINTS
    | LOSSES
    | METRICS
    | OPTIMIZERS
    | SCHEDULES
    | POLICIES
    | LAYERS_OF_APPLICATIONS
    | frozenset({"Policy", "MeanMetricWrapper"})
)
