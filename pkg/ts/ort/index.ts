/**
 * The API of onnxruntime-web over Nearside: give your bundler the alias `onnxruntime-web` → `nearside/ort`.
 *
 * @example
 * import * as ort from 'nearside/ort'
 * const session = await ort.InferenceSession.create('/models/digits.onnx')
 * const { logits } = await session.run({ image: new ort.Tensor('float32', pixels, [1, 1, 28, 28]) })
 */

import { registerBackend } from './backend.js'
import { env } from './env.js'
import { InferenceSession } from './session.js'
import { Tensor } from './tensor.js'
import { TRACE, TRACE_EVENT_BEGIN, TRACE_EVENT_END, TRACE_FUNC_BEGIN, TRACE_FUNC_END } from './trace.js'

export {
  env,
  InferenceSession,
  registerBackend,
  Tensor,
  TRACE,
  TRACE_EVENT_BEGIN,
  TRACE_EVENT_END,
  TRACE_FUNC_BEGIN,
  TRACE_FUNC_END,
}
export type { Env } from './env.js'
export type {
  Backend,
  ExternalDataFileDescription,
  ExternalDataFileType,
  FileBlob,
  FileData,
  FileType,
  FileUrlOrPath,
  InferenceSessionFactory,
  InferenceSessionHandler,
  NonTensorType,
  OnnxModelOptions,
  OnnxValue,
  OnnxValueDataLocation,
} from './session-types.js'
export type {
  CpuPinnedConstructorParameters,
  GpuBufferConstructorParameters,
  ImageFormat,
  ImageSource,
  ImageTensorLayout,
  MLTensorConstructorParameters,
  TensorConstructor,
  TensorFactory,
  TensorFromGpuBufferOptions,
  TensorFromImageBitmapOptions,
  TensorFromImageDataOptions,
  TensorFromImageElementOptions,
  TensorFromImageOptions,
  TensorFromMLTensorOptions,
  TensorFromTextureOptions,
  TensorFromUrlOptions,
  TensorToDataUrlOptions,
  TensorToImageDataOptions,
  TextureConstructorParameters,
  TypedTensor,
} from './tensor-types.js'

export default {
  env,
  InferenceSession,
  registerBackend,
  Tensor,
  TRACE,
  TRACE_EVENT_BEGIN,
  TRACE_EVENT_END,
  TRACE_FUNC_BEGIN,
  TRACE_FUNC_END,
}
