"""The names of the ops that an export may hold, by what they work on.

All of them compute from their inputs, or read and change the state of the loaded model. No op of
the list opens a file or a connection, starts a program, prints, or calls Python. Ops that can do
so depending on their attributes or inputs are left out (`RemoteCall`, `ImmutableConst`,
`InitializeTableFromTextFileV2`). If a new layer uses another op, read the op's documentation for
such effects before adding its name here.
"""

from __future__ import annotations

# Arithmetic, linear algebra and transforms.
_NUMBERS = """
    Abs AccumulateNV2 Acos Acosh Add AddN AddV2 All Angle Any ApproximateEqual ArgMax ArgMin
    Asin Asinh Atan Atan2 Atanh BandedTriangularSolve BatchMatMul BatchMatMulV2 BatchMatMulV3
    BesselI0 BesselI0e BesselI1 BesselI1e BesselJ0 BesselJ1 BesselK0 BesselK0e BesselK1
    BesselK1e BesselY0 BesselY1 Betainc Bincount BitwiseAnd BitwiseOr BitwiseXor Bucketize Cast
    Ceil Cholesky ClipByValue Complex ComplexAbs Conj Cos Cosh Cross Cumprod Cumsum
    CumulativeLogsumexp Dawsn DenseBincount Digamma Div DivNoNan Eig Einsum Equal Erf Erfc
    Erfinv EuclideanNorm Exp Expint Expm1 FFT FFT2D FFT3D FFTND Floor FloorDiv FloorMod
    FresnelCos FresnelSin Greater GreaterEqual HistogramFixedWidth IFFT IFFT2D IFFT3D IFFTND
    IRFFT IRFFT2D IRFFT3D IRFFTND Igamma Igammac Imag Inv Invert IsFinite IsInf IsNan LeftShift
    Less LessEqual Lgamma LinSpace Log Log1p LogMatrixDeterminant LogicalAnd LogicalNot
    LogicalOr Lu MatMul MatrixDeterminant MatrixExponential MatrixInverse MatrixLogarithm
    MatrixSolve MatrixSolveLs MatrixSquareRoot MatrixTriangularSolve Max Maximum Mean Min
    Minimum Mod Mul MulNoNan Ndtri Neg NextAfter NotEqual Polygamma PopulationCount Pow Prod Qr
    RFFT RFFT2D RFFT3D RFFTND RaggedBincount Range Real RealDiv Reciprocal RightShift Rint Roll
    Round Rsqrt SegmentMax SegmentMaxV2 SegmentMean SegmentMin SegmentMinV2 SegmentProd
    SegmentProdV2 SegmentSum SegmentSumV2 Select SelectV2 SelfAdjointEig SelfAdjointEigV2
    Sigmoid Sign Sin Sinh SobolSample SparseBincount SparseMatMul SparseSegmentMean
    SparseSegmentMeanWithNumSegments SparseSegmentSqrtN SparseSegmentSqrtNWithNumSegments
    SparseSegmentSum SparseSegmentSumWithNumSegments Spence Sqrt Square SquaredDifference Sub
    Sum Svd Tan Tanh TridiagonalMatMul TridiagonalSolve TruncateDiv TruncateMod
    UnsortedSegmentMax UnsortedSegmentMin UnsortedSegmentProd UnsortedSegmentSum Xdivy Xlog1py
    Xlogy Zeta
"""
# Shapes, slices, ragged and sparse tensors.
_TENSORS = """
    AddManySparseToTensorsMap AddSparseToTensorsMap BatchToSpace BatchToSpaceND Bitcast
    BroadcastArgs BroadcastTo CheckNumerics CheckNumericsV2 Concat ConcatOffset ConcatV2
    ConjugateTranspose Const DenseToDenseSetOperation DenseToSparseSetOperation DepthToSpace
    Dequantize DeserializeManySparse DeserializeSparse Diag DiagPart EditDistance EnsureShape
    ExpandDims ExtractImagePatches ExtractVolumePatches FakeQuantWithMinMaxArgs
    FakeQuantWithMinMaxVars FakeQuantWithMinMaxVarsPerChannel Fill Fingerprint Gather GatherNd
    GatherV2 Identity IdentityN InvertPermutation ListDiff LowerBound MatrixBandPart MatrixDiag
    MatrixDiagPart MatrixDiagPartV2 MatrixDiagPartV3 MatrixDiagV2 MatrixDiagV3 MatrixSetDiag
    MatrixSetDiagV2 MatrixSetDiagV3 MirrorPad OneHot OnesLike Pack Pad PadV2 Placeholder
    PlaceholderV2 PlaceholderWithDefault PreventGradient RaggedCross RaggedFillEmptyRows
    RaggedGather RaggedRange RaggedTensorFromVariant RaggedTensorToSparse RaggedTensorToTensor
    RaggedTensorToVariant Rank Reshape Reverse ReverseSequence ReverseV2 ScatterNd
    ScatterNdNonAliasingAdd SerializeManySparse SerializeSparse SetSize Shape ShapeN Size Slice
    Snapshot SpaceToBatch SpaceToBatchND SpaceToDepth SparseAdd SparseConcat SparseCross
    SparseCrossHashed SparseCrossV2 SparseDenseCwiseAdd SparseDenseCwiseDiv SparseDenseCwiseMul
    SparseFillEmptyRows SparseReduceMax SparseReduceMaxSparse SparseReduceSum
    SparseReduceSumSparse SparseReorder SparseReshape SparseSlice SparseSoftmax
    SparseSparseMaximum SparseSparseMinimum SparseSplit SparseTensorDenseAdd
    SparseTensorDenseMatMul SparseToDense SparseToSparseSetOperation Split SplitV Squeeze
    StopGradient StridedSlice TakeManySparseFromTensorsMap TensorScatterAdd TensorScatterMax
    TensorScatterMin TensorScatterSub TensorScatterUpdate TensorStridedSliceUpdate Tile
    Transpose Unique UniqueV2 UniqueWithCounts UniqueWithCountsV2 Unpack UnravelIndex UpperBound
    Where ZerosLike
"""
# Texts, and messages such as tf.train.Example.
_TEXTS = """
    AsString DecodeBase64 DecodeCSV DecodeJSONExample DecodePaddedRaw DecodeProtoV2 DecodeRaw
    EncodeBase64 ParseExample ParseExampleV2 ParseSequenceExample ParseSequenceExampleV2
    ParseSingleExample ParseSingleSequenceExample ParseTensor ReduceJoin RegexFullMatch
    RegexReplace SerializeTensor StaticRegexFullMatch StaticRegexReplace StringFormat StringJoin
    StringLength StringLower StringNGrams StringSplit StringSplitV2 StringStrip
    StringToHashBucket StringToHashBucketFast StringToHashBucketStrong StringToNumber
    StringUpper Substr UnicodeDecode UnicodeDecodeWithOffsets UnicodeEncode UnicodeScript
    UnicodeTranscode UnsortedSegmentJoin
"""
# Photos and sound, from their bytes to pixels and samples.
_MEDIA = """
    AdjustContrast AdjustContrastv2 AdjustHue AdjustSaturation AudioSpectrogram
    CombinedNonMaxSuppression CropAndResize DecodeAndCropJpeg DecodeBmp DecodeGif DecodeImage
    DecodeJpeg DecodePng DecodeWav DrawBoundingBoxes DrawBoundingBoxesV2 EncodeWav
    ExtractGlimpse ExtractGlimpseV2 ExtractJpegShape GenerateBoundingBoxProposals HSVToRGB
    ImageProjectiveTransformV2 ImageProjectiveTransformV3 Mfcc NonMaxSuppression
    NonMaxSuppressionV2 NonMaxSuppressionV3 NonMaxSuppressionV4 NonMaxSuppressionV5
    NonMaxSuppressionWithOverlaps RGBToHSV ResizeArea ResizeBicubic ResizeBilinear
    ResizeNearestNeighbor ScaleAndTranslate StatelessSampleDistortedBoundingBox
"""
# Layers of networks.
_NETWORKS = """
    ApproxTopK AvgPool AvgPool3D BiasAdd BiasAddV1 Conv Conv2D Conv2DBackpropInput Conv3D
    DataFormatDimMap DataFormatVecPermute DepthwiseConv2dNative Dilation2D Elu FractionalAvgPool
    FractionalMaxPool FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3 FusedPadConv2D
    FusedResizeAndPadConv2D InTopK InTopKV2 IsotonicRegression L2Loss LRN LeakyRelu LogSoftmax
    MaxPool MaxPool3D MaxPoolV2 MaxPoolWithArgmax NthElement Relu Relu6 Selu Softmax
    SoftmaxCrossEntropyWithLogits Softplus Softsign SparseSoftmaxCrossEntropyWithLogits TopK
    TopKV2
"""
# Branches, loops, calls of functions, checks.
_CONTROL = """
    Assert Case DeviceIndex DynamicPartition DynamicStitch EmptyTensorList Enter Exit For If
    LoopCond Merge NextIteration NoOp ParallelDynamicStitch PartitionedCall Placeholder
    StatefulPartitionedCall StatelessCase StatelessIf StatelessWhile Switch TensorArrayCloseV3
    TensorArrayConcatV3 TensorArrayGatherV3 TensorArrayReadV3 TensorArrayScatterV3
    TensorArraySizeV3 TensorArraySplitV3 TensorArrayV3 TensorArrayWriteV3 TensorListConcat
    TensorListConcatLists TensorListConcatV2 TensorListElementShape TensorListFromTensor
    TensorListGather TensorListGetItem TensorListLength TensorListPopBack TensorListPushBack
    TensorListPushBackBatch TensorListReserve TensorListResize TensorListScatter
    TensorListScatterIntoExistingList TensorListScatterV2 TensorListSetItem TensorListSplit
    TensorListStack ToBool While
"""
# The state of a loaded model: its weights and lookup tables.
_STATE = """
    AssignAddVariableOp AssignSubVariableOp AssignVariableOp DestroyResourceOp DisableCopyOnRead
    ReadVariableOp ResourceGather ResourceGatherNd VarHandleOp VarIsInitializedOp VariableShape
    AnonymousHashTable HashTableV2 InitializeTableV2 LookupTableExportV2 LookupTableFindV2
    LookupTableImportV2 LookupTableSizeV2
"""
# Random numbers.
_RANDOM = """
    RandomStandardNormal RandomUniform RandomUniformInt TruncatedNormal StatelessRandomGetAlg
    StatelessRandomGetKeyCounter StatelessRandomGetKeyCounterAlg StatelessRandomNormal
    StatelessRandomNormalV2 StatelessRandomUniform StatelessRandomUniformInt
    StatelessRandomUniformIntV2 StatelessRandomUniformV2 StatelessTruncatedNormal
    StatelessTruncatedNormalV2 RngReadAndSkip StatefulUniform StatefulStandardNormalV2
"""
# Ops of TensorFlow Text.
_TEXT_OPS = """
    CaseFoldUTF8 FastWordpieceTokenizeWithOffsets NormalizeUTF8 NormalizeUTF8WithOffsetsMap
    RegexSplitWithOffsets SentencepieceDetokenizeOp SentencepieceGetPieceSize
    SentencepieceIdToStringOp SentencepieceOp SentencepieceStringToIdOp SentencepieceTokenizeOp
    SentencepieceTokenizeWithOffsetsOp SentencepieceVocabSizeOp UnicodeScriptTokenizeWithOffsets
    WhitespaceTokenizeWithOffsetsV2 WordpieceTokenizeWithOffsets
"""
# Reading and writing checkpoints: allowed only where a SavedModel loads and saves its own
# checkpoint, see `mmrank.serving.graph_check`.
LOADS = "RestoreV2"
SAVER_OPS = frozenset({LOADS, "MergeV2Checkpoints", "SaveV2", "ShardedFilename"})

ALLOWED_OPS = frozenset(
    name
    for group in (
        _NUMBERS,
        _TENSORS,
        _TEXTS,
        _MEDIA,
        _NETWORKS,
        _CONTROL,
        _STATE,
        _RANDOM,
        _TEXT_OPS,
    )
    for name in group.split()
)
