/** `Tensor`, with the constructors, members and messages of onnxruntime-web's. */

import { optionsOf } from './call-arguments.js'
import { arrayKind, type Elements, isPacked, storageOf, typeOfArray } from './element-types.js'
import { tensorFromImage } from './image.js'
import { toDataURL, toImageData } from './pixels.js'
import type {
  ImageSource,
  LocatedConstructorParameters,
  Tensor as TensorInterface,
  TensorConstructor,
  TensorFromGpuBufferOptions,
  TensorFromImageOptions,
  TensorFromMLTensorOptions,
  TensorFromTextureOptions,
  TensorToDataUrlOptions,
  TensorToImageDataOptions,
} from './tensor-types.js'

type Type = TensorInterface.Type
type Data = TensorInterface.DataType
type Dims = readonly number[]

// Libraries look into these fields and assign some of them, so they are plain properties, and objects stay usable behind a Proxy.
class TensorImplementation {
  dims: Dims
  type: Type
  size: number
  cpuData: Data | undefined
  dataLocation: TensorInterface.DataLocation
  gpuTextureData: TensorInterface.TextureType | undefined
  gpuBufferData: TensorInterface.GpuBufferType | undefined
  mlTensorData: TensorInterface.MLTensorType | undefined
  downloader: (() => Promise<Data>) | undefined
  disposer: (() => void) | undefined
  isDownloading = false

  constructor(first: Type | Data | readonly unknown[] | LocatedConstructorParameters, second?: unknown, third?: unknown) {
    if (typeof first === 'object' && first !== null && 'location' in first) {
      this.dataLocation = first.location
      this.type = first.type
      this.dims = first.dims
      place(this, first)
    } else {
      const { type, data, dims } = typeof first === 'string' ? ofType(first, second, third) : ofData(first, second)
      this.dataLocation = 'cpu'
      this.type = type
      this.cpuData = data
      this.dims = dims
    }
    this.size = sizeOf(this.dims)
    const length = this.cpuData?.length ?? this.size
    const packed = isPacked(this.type) && length === Math.ceil(this.size / 2)
    if (length !== this.size && !packed) throw new Error(`Tensor's size(${this.size}) does not match data length(${length}).`)
  }

  static fromImage(image: ImageSource, options?: TensorFromImageOptions): Promise<TensorInterface> {
    return tensorFromImage(image, options ?? {}, (type, data, dims) => new Tensor(type, data, dims))
  }

  static fromTexture(texture: TensorInterface.TextureType, options: TensorFromTextureOptions<'float32'>): TensorInterface {
    const { width, height, ...rest } = optionsOf<typeof options>(options)
    return new Tensor({ ...rest, location: 'texture', type: 'float32', texture, dims: [1, height, width, 4] })
  }

  static fromGpuBuffer(
    gpuBuffer: TensorInterface.GpuBufferType,
    options: TensorFromGpuBufferOptions<TensorInterface.GpuBufferDataTypes>,
  ): TensorInterface {
    const { dataType: type = 'float32', ...rest } = optionsOf<typeof options>(options)
    return new Tensor({ ...rest, location: 'gpu-buffer', type, gpuBuffer })
  }

  static fromMLTensor(
    mlTensor: TensorInterface.MLTensorType,
    options: TensorFromMLTensorOptions<TensorInterface.MLTensorDataTypes>,
  ): TensorInterface {
    const { dataType: type = 'float32', ...rest } = optionsOf<typeof options>(options)
    return new Tensor({ ...rest, location: 'ml-tensor', type, mlTensor })
  }

  static fromPinnedBuffer(type: TensorInterface.CpuPinnedDataTypes, data: Elements, dims: Dims = [data.length]): TensorInterface {
    return new Tensor({ location: 'cpu-pinned', type, data, dims })
  }

  get data(): Data {
    return held(
      this,
      this.cpuData,
      'The data is not on CPU. Use `getData()` to download GPU data to CPU, or use `texture` or `gpuBuffer` property to access the GPU data directly.',
    )
  }

  get location(): TensorInterface.DataLocation {
    return this.dataLocation
  }

  get texture(): TensorInterface.TextureType {
    return held(this, this.gpuTextureData, 'The data is not stored as a WebGL texture.')
  }

  get gpuBuffer(): TensorInterface.GpuBufferType {
    return held(this, this.gpuBufferData, 'The data is not stored as a WebGPU buffer.')
  }

  get mlTensor(): TensorInterface.MLTensorType {
    return held(this, this.mlTensorData, 'The data is not stored as a WebNN MLTensor.')
  }

  async getData(releaseData?: boolean): Promise<Data> {
    assertUsable(this)
    if (this.cpuData !== undefined) return this.cpuData
    if (this.downloader === undefined) throw new Error('The current tensor is not created with a specified data downloader.')
    assertIdle(this)
    this.isDownloading = true
    try {
      const data = await this.downloader()
      this.downloader = undefined
      this.dataLocation = 'cpu'
      this.cpuData = data
      if (releaseData) disown(this)
      return data
    } finally {
      this.isDownloading = false
    }
  }

  dispose(): void {
    assertIdle(this)
    disown(this)
    this.cpuData = undefined
    this.gpuTextureData = undefined
    this.gpuBufferData = undefined
    this.mlTensorData = undefined
    this.downloader = undefined
    this.dataLocation = 'none'
  }

  reshape(dims: Dims): TensorInterface {
    assertUsable(this)
    if (this.downloader !== undefined || this.disposer !== undefined)
      throw new Error('Cannot reshape a tensor that owns GPU resource.')
    if (this.dataLocation === 'cpu') return new Tensor(this.type, this.data, dims)
    return new Tensor({
      location: this.dataLocation,
      type: this.type,
      dims,
      data: this.cpuData,
      texture: this.gpuTextureData,
      gpuBuffer: this.gpuBufferData,
      mlTensor: this.mlTensorData,
    } as LocatedConstructorParameters)
  }

  toDataURL(options?: TensorToDataUrlOptions): string {
    return toDataURL(this, options ?? {})
  }

  toImageData(options?: TensorToImageDataOptions): ImageData {
    return toImageData(this, options ?? {})
  }
}

/** A tensor: see onnxruntime-web's documentation. */
export const Tensor = TensorImplementation as unknown as TensorConstructor
export interface Tensor extends TensorInterface {}
export declare namespace Tensor {
  type DataTypeMap = TensorInterface.DataTypeMap
  type ElementTypeMap = TensorInterface.ElementTypeMap
  type Type = TensorInterface.Type
  type DataType = TensorInterface.DataType
  type ElementType = TensorInterface.ElementType
  type DataLocation = TensorInterface.DataLocation
  type CpuPinnedDataTypes = TensorInterface.CpuPinnedDataTypes
  type TextureType = TensorInterface.TextureType
  type TextureDataTypes = TensorInterface.TextureDataTypes
  type GpuBufferType = TensorInterface.GpuBufferType
  type GpuBufferDataTypes = TensorInterface.GpuBufferDataTypes
  type MLTensorType = TensorInterface.MLTensorType
  type MLTensorDataTypes = TensorInterface.MLTensorDataTypes
}
// Messages and debuggers show this name.
Object.defineProperty(TensorImplementation, 'name', { value: 'Tensor' })

function held<T>(tensor: TensorImplementation, value: T | undefined, message: string): T {
  assertUsable(tensor)
  if (value === undefined) throw new Error(message)
  return value
}

function assertUsable(tensor: TensorImplementation): void {
  if (tensor.dataLocation === 'none') throw new Error('The tensor is disposed.')
}

function assertIdle(tensor: TensorImplementation): void {
  if (tensor.isDownloading) throw new Error('The current tensor is being downloaded.')
}

function disown(tensor: TensorImplementation): void {
  tensor.disposer?.()
  tensor.disposer = undefined
}

/** Types that each place off the CPU can hold, and what the place is called in messages. */
const PLACES: { readonly [location: string]: readonly [called: string, types: readonly string[]] } = {
  texture: ['texture', ['float32']],
  'gpu-buffer': ['gpu buffer', ['float32', 'float16', 'int32', 'int64', 'uint32', 'uint8', 'bool', 'uint4', 'int4']],
  'ml-tensor': [
    'MLTensor',
    ['float32', 'float16', 'int32', 'int64', 'uint32', 'uint64', 'int8', 'uint8', 'bool', 'uint4', 'int4'],
  ],
}

function place(tensor: TensorImplementation, parameters: LocatedConstructorParameters): void {
  const { location, type } = parameters
  if (location === 'cpu-pinned') {
    const storage = storageOf(type)
    if (storage === undefined) throw new TypeError(`unsupported type "${type}" to create tensor from pinned buffer`)
    if (arrayKind(parameters.data) !== storage.name) throw new TypeError(`buffer should be of type ${storage.name}`)
    tensor.cpuData = parameters.data
    return
  }
  const found = Object.hasOwn(PLACES, location) ? PLACES[location] : undefined
  if (found === undefined) throw new Error(`Tensor constructor: unsupported location '${String(location)}'`)
  const [called, types] = found
  if (!types.includes(type)) throw new TypeError(`unsupported type "${type}" to create tensor from ${called}`)
  if (location === 'texture') tensor.gpuTextureData = parameters.texture
  if (location === 'gpu-buffer') tensor.gpuBufferData = parameters.gpuBuffer
  if (location === 'ml-tensor') tensor.mlTensorData = parameters.mlTensor
  // Called through the parameters, whose methods may need their object.
  if (parameters.download !== undefined) tensor.downloader = () => parameters.download?.() as Promise<Data>
  if (parameters.dispose !== undefined) tensor.disposer = () => parameters.dispose?.()
}

interface Parts {
  readonly type: Type
  readonly data: Data
  readonly dims: Dims
}

function ofType(type: Type, given: unknown, dims: unknown): Parts {
  if (type === 'string') {
    if (!Array.isArray(given)) throw new TypeError("A string tensor's data must be a string array.")
    return { type, data: given as string[], dims: dimsOf(dims, given.length) }
  }
  const data = elementsOf(type, given)
  return { type, data, dims: dimsOf(dims, data.length) }
}

function elementsOf(type: Type, given: unknown): Elements {
  const storage = storageOf(type)
  if (storage === undefined) throw new TypeError(`Unsupported tensor type: ${type}.`)
  if (Array.isArray(given)) {
    if (isPacked(type) || (type === 'float16' && storage.name === 'Uint16Array')) {
      throw new TypeError(`Creating a ${type} tensor from number array is not supported. Please use ${storage.name} as data.`)
    }
    return type === 'int64' || type === 'uint64' ? storage.from(given, BigInt) : storage.from(given)
  }
  const kind = arrayKind(given)
  if (kind === storage.name) return given as Elements
  if (kind === 'Uint8ClampedArray') {
    if (type !== 'uint8') throw new TypeError("A Uint8ClampedArray tensor's data must be type of uint8")
    return Uint8Array.from(given as Uint8ClampedArray)
  }
  if (type === 'float16' && kind === 'Uint16Array') {
    const bits = given as Uint16Array
    return new storage(bits.buffer, bits.byteOffset, bits.length)
  }
  throw new TypeError(`A ${type} tensor's data must be type of ${String(storage)}`)
}

function ofData(data: unknown, dims: unknown): Parts {
  if (Array.isArray(data)) {
    const [first] = data as unknown[]
    if (data.length === 0) throw new TypeError('Tensor type cannot be inferred from an empty array.')
    if (typeof first === 'string') return { type: 'string', data: data as string[], dims: dimsOf(dims, data.length) }
    if (typeof first === 'boolean')
      return { type: 'bool', data: Uint8Array.from(data as number[]), dims: dimsOf(dims, data.length) }
    throw new TypeError(`Invalid element type of data array: ${typeof first}.`)
  }
  if (arrayKind(data) === 'Uint8ClampedArray') {
    const bytes = Uint8Array.from(data as Uint8ClampedArray)
    return { type: 'uint8', data: bytes, dims: dimsOf(dims, bytes.length) }
  }
  const type = typeOfArray(data)
  if (type === undefined) {
    const { constructor } = Object(data) as { constructor?: unknown }
    throw new TypeError(`Unsupported type for tensor data: ${String(constructor)}.`)
  }
  return { type, data: data as Elements, dims: dimsOf(dims, (data as Elements).length) }
}

/** The dimensions that were given, to be checked by {@link sizeOf}; else one. */
function dimsOf(dims: unknown, length: number): Dims {
  return dims === undefined ? [length] : (dims as Dims)
}

/** Number of elements of a shape. */
function sizeOf(dims: unknown): number {
  if (!Array.isArray(dims)) throw new TypeError("A tensor's dims must be a number array")
  return dims.reduce<number>((size, dim, i) => {
    if (!Number.isSafeInteger(dim)) throw new TypeError(`dims[${i}] must be an integer, got: ${String(dim)}`)
    if ((dim as number) < 0) throw new RangeError(`dims[${i}] must be a non-negative integer, got: ${String(dim)}`)
    return size * (dim as number)
  }, 1)
}
