/**
 * Nearside: runs (quantized) ONNX models in the page.
 *
 * @example
 * const model = await Model.load('/models/digits.onnx')
 * const { scores } = await model.run({ image: pixels })
 */

export {
  DisposedError,
  InputError,
  IntegrityError,
  InternalError,
  LimitError,
  ModelFormatError,
  NearsideError,
  NetworkError,
  type NetworkReason,
  PlanError,
  UnsupportedError,
  WorkerError,
} from './errors.js'
export type { Fit } from './fit.js'
export type {
  AudioFeed,
  AudioSource,
  ImageFeed,
  ImageOptions,
  ImageSource,
  LocalFeed,
  LocalFeeds,
  PixelData,
} from './media/types.js'
export type { Explanation, GraphNode, NodeProfile, OnnxNode, TunedNode, TuneReport, Way } from './explanation.js'
export { Model } from './model.js'
export { type AnyTensor, type DataType, type PlainArray, Tensor, type TensorDataMap, type TypedArray } from './tensor.js'
export type {
  AssetUrls,
  CacheOptions,
  EarlyStart,
  EngineInfo,
  Feed,
  FeedOf,
  Feeds,
  LatestRunOptions,
  Limits,
  LoadOptions,
  LoadPhase,
  LoadTimings,
  LocalModel,
  Logger,
  MemoryUse,
  ModelAddress,
  ModelSource,
  Outputs,
  OutputValue,
  OutputValues,
  Port,
  PortKind,
  Predictor,
  ProfileOptions,
  Progress,
  RemoteModel,
  RemoteOptions,
  RunOptions,
  RunTiming,
  Span,
  SpanName,
  TensorLike,
  TuneOptions,
  Variant,
} from './types.js'
