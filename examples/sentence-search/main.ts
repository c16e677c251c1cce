/** Finds the sentences that mean what was asked: all-MiniLM-L6-v2, with Hugging Face's tokenizer. */

import { Tokenizer } from '@huggingface/tokenizers'
import { Model, Tensor } from 'nearside'

import { fetchJson, sentence } from '../failures'

const query = new URLSearchParams(location.search)
const MODEL = query.get('model') ?? '../models/all-MiniLM-L6-v2/model_quantized.onnx'
/** Folder of `tokenizer.json` and `tokenizer_config.json`. */
const TOKENIZER = query.get('tokenizer') ?? '../models/all-MiniLM-L6-v2'

const SENTENCES = [
  'A man is eating a piece of bread.',
  'The girl is carrying a baby.',
  'A man is riding a white horse on an enclosed ground.',
  'A woman is playing the violin.',
  'Two men pushed carts through the woods.',
  'A cheetah is running behind its prey.',
  'The stock market fell by three percent.',
  'Neural networks can run in a browser.',
]

const loading = new AbortController()
const form = document.querySelector('form') as HTMLFormElement
const question = document.querySelector('input') as HTMLInputElement
const button = document.querySelector('button') as HTMLButtonElement
const answers = document.querySelector('ol') as HTMLOListElement
const state = document.querySelector('#state') as HTMLElement

/** Makes a function from a sentence to its meaning: a vector of length 1. */
function embedder(model: Model, tokenizer: Tokenizer): (sentence: string) => Promise<Float32Array> {
  return async (sentence) => {
    const { ids } = tokenizer.encode(sentence)
    const tensor = (values: readonly number[]): Tensor => new Tensor('int64', values.map(BigInt), [1, values.length])
    const { last_hidden_state: states } = await model.run({
      input_ids: tensor(ids),
      attention_mask: tensor(ids.map(() => 1)),
      token_type_ids: tensor(ids.map(() => 0)),
    })
    if (states?.type !== 'float32') throw new Error('The model gives no last_hidden_state.')
    return normalize(mean(states.data, ids.length))
  }
}

/** The mean of the tokens' vectors. */
function mean(vectors: Float32Array, count: number): Float32Array {
  const length = vectors.length / count
  const out = new Float32Array(length)
  for (let i = 0; i < vectors.length; i++) out[i % length] = (out[i % length] ?? 0) + (vectors[i] ?? 0) / count
  return out
}

function normalize(vector: Float32Array): Float32Array {
  const length = Math.hypot(...vector)
  return vector.map((v) => v / length)
}

/** The cosine of two vectors of length 1. */
function similarity(a: Float32Array, b: Float32Array): number {
  return a.reduce((sum, v, i) => sum + v * (b[i] ?? 0), 0)
}

async function json(name: string): Promise<object> {
  return (await fetchJson(`${TOKENIZER}/${name}`)) as object
}

function fail(error: unknown): void {
  state.textContent = sentence(error)
}

async function main(): Promise<void> {
  const [model, ...files] = await Promise.all([
    Model.load(MODEL, {
      signal: loading.signal,
      onProgress: ({ fraction }) => (state.textContent = `Loading: ${Math.round(100 * fraction)} %`),
    }),
    json('tokenizer.json'),
    json('tokenizer_config.json'),
  ])
  const embed = embedder(model, new Tokenizer(...files))
  // One at a time: in a batch the padding would be part of what a dynamically quantized model scales by.
  const known: { text: string; vector: Float32Array }[] = []
  for (const text of SENTENCES) known.push({ text, vector: await embed(text) })
  state.textContent = `Ready: ${SENTENCES.length} sentences.`
  button.disabled = false

  const search = async (): Promise<void> => {
    const asked = await embed(question.value)
    const found = known
      .map(({ text, vector }) => ({ text, likeness: similarity(asked, vector) }))
      .sort((a, b) => b.likeness - a.likeness)
    const lines = found.map(({ text, likeness }) => {
      const line = document.createElement('li')
      line.textContent = `${text} (${likeness.toFixed(2)})`
      return line
    })
    answers.replaceChildren(...lines)
    state.textContent = `${model.lastTiming?.total.toFixed(1)} ms`
  }
  form.onsubmit = (event) => {
    event.preventDefault()
    search().catch(fail)
  }
}

main().catch((error: unknown) => {
  // Without all of its files the model need not go on loading, nor tell of it.
  loading.abort()
  fail(error)
})
