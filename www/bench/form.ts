/** The form: what it shows is the experiment, and the experiment is what it shows. */

import { byId, setText } from '../src/dom'
import { showCamera } from './camera'
import { type Experiment, readDims, readExperiment, writeDims } from './experiment'
import { showMicrophone } from './microphone'
import type { Sound } from './sound'

/** Files that the visitor gave. */
export interface Files {
  /** The model; more than one are its formats. */
  readonly models: readonly File[]
  readonly other: File | undefined
  readonly inputs: File | undefined
  /** A frame of the camera. */
  readonly picture: ImageBitmap | undefined
  /** What the microphone heard. */
  readonly sound: Sound | undefined
}

const REPOSITORY = ['digits.int8', 'digits']

export class Form {
  readonly #form = byId('setup', HTMLFormElement)
  readonly #threads = byId('threads', HTMLInputElement)
  readonly #onChange: () => void
  readonly #picture = showCamera()
  readonly #sound = showMicrophone()
  #dropped: readonly File[] = []

  constructor(experiment: Experiment, onChange: () => void) {
    const { model } = experiment
    this.#onChange = onChange
    const listed = REPOSITORY.includes(model) || model === 'file'
    this.#set('model', listed ? model : 'url')
    if (!listed) this.#set('url', model)
    for (const name of ['form', 'beside', 'other', 'variant', 'threads', 'n', 'rounds', 'seed'] as const)
      this.#set(name, String(experiment[name]))
    this.#set('worker', experiment.worker ? '1' : '0')
    this.#threads.max = String(Math.max(navigator.hardwareConcurrency, experiment.threads, 2))
    this.#set('threads', String(experiment.threads))
    this.#threads.disabled = !crossOriginIsolated
    this.#threads.addEventListener('input', () => {
      this.#showThreads()
    })
    this.#showThreads()
    this.#set('dims', writeDims(experiment.dims))
    this.#form.addEventListener('change', ({ target }) => {
      if (target instanceof HTMLInputElement && target.name === 'file') {
        this.#dropped = []
        this.#compare(target.files?.length ?? 0)
      }
      this.#showFields()
      onChange()
    })
    this.#showFields()
  }

  get experiment(): Experiment {
    const query = new URLSearchParams()
    for (const name of ['form', 'beside', 'other', 'variant', 'threads', 'worker', 'n', 'rounds', 'seed'])
      query.set(name, this.#get(name))
    const model = this.#get('model')
    query.set('model', model === 'url' ? this.#get('url') : model)
    return { ...readExperiment(query.toString()), dims: readDims(this.#get('dims')) }
  }

  get files(): Files {
    const of = (name: string): readonly File[] => {
      const field = this.#form.elements.namedItem(name)
      return field instanceof HTMLInputElement ? Array.from(field.files ?? []) : []
    }
    const models = this.#dropped.length > 0 ? this.#dropped : of('file')
    const taken = { picture: this.#picture(), sound: this.#sound() }
    return { models, other: of('other-file')[0], inputs: of('inputs')[0], ...taken }
  }

  /** Takes a model that was dropped on the page, or several formats of it. */
  drop(files: readonly File[]): void {
    this.#dropped = files
    this.#set('model', 'file')
    this.#compare(files.length)
    this.#showFields()
    this.#onChange()
  }

  /** Several files are one model in several formats; of one there is nothing to compare. */
  #compare(files: number): void {
    if (files > 1) this.#set('beside', 'formats')
    else if (this.#get('beside') === 'formats') this.#set('beside', 'nothing')
  }

  onSubmit(run: () => void): void {
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault()
      run()
    })
  }

  #showThreads(): void {
    const { value, disabled } = this.#threads
    const count = value === '0' ? 'by itself' : value === '1' ? 'one' : value
    const words = disabled ? 'one: this page is not isolated' : count
    this.#threads.setAttribute('aria-valuetext', words)
    setText(byId('threads-count', HTMLElement), words)
  }

  #showFields(): void {
    const [model, beside, other] = [this.#get('model'), this.#get('beside'), this.#get('other')]
    const shown: Readonly<Record<string, boolean>> = {
      url: model === 'url',
      file: model === 'file',
      digits: REPOSITORY.includes(model),
      other: beside === 'model',
      'other-file': beside === 'model' && other === 'file',
    }
    for (const label of this.#form.querySelectorAll<HTMLElement>('[data-for]'))
      label.hidden = shown[label.dataset['for'] ?? ''] !== true
  }

  #get(name: string): string {
    const field = this.#form.elements.namedItem(name)
    return field instanceof HTMLInputElement || field instanceof HTMLSelectElement ? field.value : ''
  }

  #set(name: string, value: string): void {
    const field = this.#form.elements.namedItem(name)
    if (field instanceof HTMLInputElement || field instanceof HTMLSelectElement) field.value = value
  }
}
