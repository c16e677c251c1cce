/** A prediction from the fields of a form, at every change: gradient-boosted trees on scikit-learn's wine data. */

import { Model } from 'nearside'

import { sentence } from '../failures'

const MODEL = new URLSearchParams(location.search).get('model') ?? '../models/wine.onnx'

/** The columns that the model was trained on, in their order, with the values of one wine. */
const COLUMNS = [
  ['Alcohol, %', 13.16],
  ['Malic acid, g/l', 3.57],
  ['Ash, g/l', 2.15],
  ['Alkalinity of ash', 21],
  ['Magnesium, mg/l', 102],
  ['Total phenols', 1.5],
  ['Flavanoids', 0.55],
  ['Nonflavanoid phenols', 0.43],
  ['Proanthocyanins', 1.3],
  ['Colour intensity', 4],
  ['Hue', 0.6],
  ['OD280/OD315', 1.68],
  ['Proline, mg/l', 830],
] as const
const CULTIVARS = ['Barolo', 'Grignolino', 'Barbera']

const form = document.querySelector('form') as HTMLFormElement
const answer = document.querySelector('#answer') as HTMLElement
const state = document.querySelector('#state') as HTMLElement

const fields = COLUMNS.map(([title, value]) => {
  const label = document.createElement('label')
  const input = Object.assign(document.createElement('input'), { type: 'number', step: 'any', value: String(value) })
  label.append(title, input)
  form.append(label)
  return input
})

async function predict(model: Model): Promise<void> {
  const row = Float32Array.from(fields, ({ valueAsNumber }) => valueAsNumber)
  if (row.some(Number.isNaN)) {
    answer.textContent = 'Fill in every field.'
    return
  }
  // One row: the model takes any number of them.
  const { label, probabilities } = await model.run({ X: row })
  const share = Number(probabilities?.data[Number(label?.data[0])])
  answer.textContent = `${CULTIVARS[Number(label?.data[0])] ?? '?'}, ${(100 * share).toFixed(0)} %`
  state.textContent = `${model.lastTiming?.total.toFixed(2)} ms`
}

async function main(): Promise<void> {
  const model = await Model.load(MODEL)
  form.oninput = () => {
    predict(model).catch(fail)
  }
  await predict(model)
}

function fail(error: unknown): void {
  state.textContent = sentence(error)
}

main().catch(fail)
