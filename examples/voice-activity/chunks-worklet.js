/** Collects the microphone's samples, 128 at a time, and hands them on in larger chunks. */
class Chunks extends AudioWorkletProcessor {
  #chunk = new Float32Array(512)
  #filled = 0

  process([[channel] = []]) {
    for (const sample of channel ?? []) {
      this.#chunk[this.#filled++] = sample
      if (this.#filled < this.#chunk.length) continue
      this.port.postMessage(this.#chunk)
      this.#filled = 0
    }
    return true
  }
}

registerProcessor('chunks', Chunks)
