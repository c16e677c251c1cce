/** The types of onnxruntime-web's `Tensor`, under their names there. */

export declare namespace Tensor {
  interface DataTypeMap {
    float32: Float32Array
    float64: Float64Array
    /** A `Float16Array` in engines that have it. */
    float16: Uint16Array
    int4: Uint8Array
    uint4: Uint8Array
    int8: Int8Array
    uint8: Uint8Array
    int16: Int16Array
    uint16: Uint16Array
    int32: Int32Array
    uint32: Uint32Array
    int64: BigInt64Array
    uint64: BigUint64Array
    bool: Uint8Array
    string: string[]
  }
  interface ElementTypeMap {
    float32: number
    float64: number
    float16: number
    int4: number
    uint4: number
    int8: number
    uint8: number
    int16: number
    uint16: number
    int32: number
    uint32: number
    int64: bigint
    uint64: bigint
    bool: boolean
    string: string
  }
  type Type = keyof DataTypeMap
  type DataType = DataTypeMap[Type]
  type ElementType = ElementTypeMap[Type]
  type DataLocation = 'none' | 'cpu' | 'cpu-pinned' | 'texture' | 'gpu-buffer' | 'ml-tensor'
  type CpuPinnedDataTypes = Exclude<Type, 'string'>
  type TextureType = WebGLTexture
  type TextureDataTypes = 'float32'
  type GpuBufferType = { size: number; mapState: 'unmapped' | 'pending' | 'mapped' }
  type GpuBufferDataTypes = 'float32' | 'float16' | 'int32' | 'int64' | 'uint32' | 'uint8' | 'bool'
  type MLTensorType = { destroy(): void }
  type MLTensorDataTypes =
    'float32' | 'float16' | 'int8' | 'uint8' | 'int32' | 'uint32' | 'int64' | 'uint64' | 'bool' | 'uint4' | 'int4'
}

interface TensorBase<T extends Tensor.Type> {
  /** Dimensions, outermost first. Applications may assign it. */
  readonly dims: readonly number[]
  readonly type: T
  /** The elements; throws where they are not on the CPU. */
  readonly data: Tensor.DataTypeMap[T]
  readonly location: Tensor.DataLocation
  readonly texture: Tensor.TextureType
  readonly gpuBuffer: Tensor.GpuBufferType
  readonly mlTensor: Tensor.MLTensorType
  /** Number of elements. */
  readonly size: number
  getData(releaseData?: boolean): Promise<Tensor.DataTypeMap[T]>
  dispose(): void
  reshape(dims: readonly number[]): TypedTensor<T>
  toDataURL(options?: TensorToDataUrlOptions): string
  toImageData(options?: TensorToImageDataOptions): ImageData
}

/** A tensor whose element type is known. */
export interface TypedTensor<T extends Tensor.Type> extends TensorBase<T> {}

// Not derived from TypedTensor: else `instanceof Tensor` would forget the element type.
export interface Tensor extends TensorBase<Tensor.Type> {}

export type ImageFormat = 'RGB' | 'RGBA' | 'BGR' | 'RBG'
export type ImageTensorLayout = 'NHWC' | 'NCHW'

interface Located<T> {
  readonly type: T
  readonly dims: readonly number[]
}
interface Owned<T extends Tensor.Type> {
  download?(): Promise<Tensor.DataTypeMap[T]>
  dispose?(): void
}
export interface CpuPinnedConstructorParameters<
  T extends Tensor.CpuPinnedDataTypes = Tensor.CpuPinnedDataTypes,
> extends Located<T> {
  readonly location: 'cpu-pinned'
  readonly data: Tensor.DataTypeMap[T]
}
export interface TextureConstructorParameters<T extends Tensor.TextureDataTypes = Tensor.TextureDataTypes>
  extends Located<T>, Owned<T> {
  readonly location: 'texture'
  readonly texture: Tensor.TextureType
}
export interface GpuBufferConstructorParameters<T extends Tensor.GpuBufferDataTypes = Tensor.GpuBufferDataTypes>
  extends Located<T>, Owned<T> {
  readonly location: 'gpu-buffer'
  readonly gpuBuffer: Tensor.GpuBufferType
}
export interface MLTensorConstructorParameters<T extends Tensor.MLTensorDataTypes = Tensor.MLTensorDataTypes>
  extends Located<T>, Owned<T> {
  readonly location: 'ml-tensor'
  readonly mlTensor: Tensor.MLTensorType
}
export type LocatedConstructorParameters =
  CpuPinnedConstructorParameters | TextureConstructorParameters | GpuBufferConstructorParameters | MLTensorConstructorParameters

export interface OptionsNormalizationParameters {
  /** How numbers relate to colours: `value = (colour + bias) / mean`. */
  norm?: {
    bias?: number | [number, number, number] | [number, number, number, number]
    mean?: number | [number, number, number] | [number, number, number, number]
  }
}
/** Options of `fromImage`, the same for every source. */
export interface TensorFromImageOptions extends OptionsNormalizationParameters {
  /** The size to which the image is scaled; the other side keeps its length if only one is given. */
  resizedHeight?: number
  resizedWidth?: number
  /** Order of the channels. Default RGB; for an HTMLImageElement RGBA. */
  tensorFormat?: ImageFormat
  /** Default NCHW. */
  tensorLayout?: ImageTensorLayout
  /** Default float32. With uint8 the default of `norm` leaves colours as they are. */
  dataType?: 'float32' | 'uint8'
}
export type TensorFromImageDataOptions = TensorFromImageOptions
export type TensorFromImageElementOptions = TensorFromImageOptions
export type TensorFromImageBitmapOptions = TensorFromImageOptions
export interface TensorFromUrlOptions extends TensorFromImageOptions {
  height?: number
  width?: number
}
export interface TensorFromTextureOptions<T extends Tensor.TextureDataTypes> extends Owned<T> {
  height: number
  width: number
  format?: ImageFormat
}
export interface TensorFromGpuBufferOptions<T extends Tensor.GpuBufferDataTypes> extends Owned<T> {
  dataType?: T
  dims: readonly number[]
}
export interface TensorFromMLTensorOptions<T extends Tensor.MLTensorDataTypes> extends Owned<T> {
  dataType?: T
  dims: readonly number[]
}
export interface TensorToImageDataOptions extends OptionsNormalizationParameters {
  tensorLayout?: ImageTensorLayout
  format?: ImageFormat
}
export type TensorToDataUrlOptions = TensorToImageDataOptions

/** What `fromImage` takes. */
export type ImageSource =
  | string
  | URL
  | Blob
  | ImageData
  | HTMLImageElement
  | ImageBitmap
  | HTMLCanvasElement
  | OffscreenCanvas
  | HTMLVideoElement
  | VideoFrame

export interface TensorFactory {
  fromImage(
    image: ImageSource,
    options?: TensorFromImageOptions | TensorFromUrlOptions,
  ): Promise<TypedTensor<'float32'> | TypedTensor<'uint8'>>
  fromTexture<T extends Tensor.TextureDataTypes = 'float32'>(
    texture: Tensor.TextureType,
    options: TensorFromTextureOptions<T>,
  ): TypedTensor<'float32'>
  fromGpuBuffer<T extends Tensor.GpuBufferDataTypes>(
    gpuBuffer: Tensor.GpuBufferType,
    options: TensorFromGpuBufferOptions<T>,
  ): TypedTensor<T>
  fromMLTensor<T extends Tensor.MLTensorDataTypes>(
    mlTensor: Tensor.MLTensorType,
    options: TensorFromMLTensorOptions<T>,
  ): TypedTensor<T>
  fromPinnedBuffer<T extends Tensor.CpuPinnedDataTypes>(
    type: T,
    buffer: Tensor.DataTypeMap[T],
    dims?: readonly number[],
  ): TypedTensor<T>
}

type Dims = readonly number[]

export interface TensorConstructor extends TensorFactory {
  new (type: 'string', data: readonly string[], dims?: Dims): TypedTensor<'string'>
  new (type: 'bool', data: Uint8Array | readonly boolean[], dims?: Dims): TypedTensor<'bool'>
  new (type: 'uint8', data: Uint8ClampedArray, dims?: Dims): TypedTensor<'uint8'>
  new <T extends 'uint64' | 'int64'>(
    type: T,
    data: Tensor.DataTypeMap[T] | readonly bigint[] | readonly number[],
    dims?: Dims,
  ): TypedTensor<T>
  new <T extends Exclude<Tensor.Type, 'string' | 'bool' | 'uint64' | 'int64'>>(
    type: T,
    data: Tensor.DataTypeMap[T] | readonly number[],
    dims?: Dims,
  ): TypedTensor<T>
  new (data: Float32Array, dims?: Dims): TypedTensor<'float32'>
  new (data: Int8Array, dims?: Dims): TypedTensor<'int8'>
  new (data: Uint8Array | Uint8ClampedArray, dims?: Dims): TypedTensor<'uint8'>
  new (data: Uint16Array, dims?: Dims): TypedTensor<'uint16'>
  new (data: Int16Array, dims?: Dims): TypedTensor<'int16'>
  new (data: Int32Array, dims?: Dims): TypedTensor<'int32'>
  new (data: BigInt64Array, dims?: Dims): TypedTensor<'int64'>
  new (data: readonly string[], dims?: Dims): TypedTensor<'string'>
  new (data: readonly boolean[], dims?: Dims): TypedTensor<'bool'>
  new (data: Float64Array, dims?: Dims): TypedTensor<'float64'>
  new (data: Uint32Array, dims?: Dims): TypedTensor<'uint32'>
  new (data: BigUint64Array, dims?: Dims): TypedTensor<'uint64'>
  new (parameters: LocatedConstructorParameters): Tensor
  new (
    type: Tensor.Type,
    data: Tensor.DataType | readonly number[] | readonly string[] | readonly bigint[] | readonly boolean[],
    dims?: Dims,
  ): Tensor
  new (data: Tensor.DataType, dims?: Dims): Tensor
}
