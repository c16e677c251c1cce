/**
 * Peak WebAssembly memory of a page, whatever engine runs in it: every memory that is made or exported is noted.
 * A memory never shrinks, so its size at the end is its peak. Import this before any engine.
 */

const memories = new Set<WebAssembly.Memory>()

/** The bytes of all memories together. */
export function peakWasmBytes(): number {
  let bytes = 0
  for (const memory of memories) bytes += memory.buffer.byteLength
  return bytes
}

function note(instance: WebAssembly.Instance): void {
  for (const value of Object.values(instance.exports)) {
    if (value instanceof Original.Memory) memories.add(value)
  }
}

const Original = {
  Memory: WebAssembly.Memory,
  Instance: WebAssembly.Instance,
  instantiate: WebAssembly.instantiate.bind(WebAssembly) as (
    source: BufferSource | WebAssembly.Module,
    imports?: WebAssembly.Imports,
  ) => Promise<WebAssembly.Instance | WebAssembly.WebAssemblyInstantiatedSource>,
  instantiateStreaming: WebAssembly.instantiateStreaming.bind(WebAssembly),
}

WebAssembly.Memory = new Proxy(Original.Memory, {
  construct(target, args: [WebAssembly.MemoryDescriptor]) {
    const memory = new target(...args)
    memories.add(memory)
    return memory
  },
})

WebAssembly.Instance = new Proxy(Original.Instance, {
  construct(target, args: [WebAssembly.Module, WebAssembly.Imports?]) {
    const instance = new target(...args)
    note(instance)
    return instance
  },
})

WebAssembly.instantiate = (async (source: BufferSource | WebAssembly.Module, imports?: WebAssembly.Imports) => {
  const result = await Original.instantiate(source, imports)
  note('instance' in result ? result.instance : result)
  return result
}) as typeof WebAssembly.instantiate

WebAssembly.instantiateStreaming = async (source, imports) => {
  const result = await Original.instantiateStreaming(source, imports)
  note(result.instance)
  return result
}
