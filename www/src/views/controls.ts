/** The form of network conditions and of the cloud's model. */

import { byId, setText } from '../dom'
import { AS_IT_IS, CLOUD_MODELS, type Conditions, type Experiment, isSimulated } from '../network'

const PRESETS: { readonly [name: string]: Conditions } = {
  none: AS_IT_IS,
  near: { rtt: 20, jitter: 4, loss: 0, offline: false },
  far: { rtt: 80, jitter: 20, loss: 0, offline: false },
  poor: { rtt: 300, jitter: 60, loss: 2, offline: false },
  offline: { ...AS_IT_IS, offline: true },
}

export class Controls {
  readonly #form = byId('network', HTMLFormElement)
  readonly #sliders = {
    rtt: byId('rtt', HTMLInputElement),
    jitter: byId('jitter', HTMLInputElement),
    loss: byId('loss', HTMLInputElement),
  }
  readonly #model = byId('model', HTMLSelectElement)
  readonly #onChange: (experiment: Experiment) => void
  #experiment: Experiment

  constructor(experiment: Experiment, onChange: (experiment: Experiment) => void) {
    this.#experiment = experiment
    this.#onChange = onChange
    this.#render()
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault()
    })
    // Values follow the slider as it moves; the experiment changes when it is let go.
    this.#form.addEventListener('input', () => {
      this.#labels(this.#sliderConditions())
    })
    this.#form.addEventListener('change', ({ target }) => {
      this.#read(target)
    })
  }

  #read(target: EventTarget | null): void {
    const preset = target instanceof HTMLInputElement && target.name === 'preset' ? PRESETS[target.value] : undefined
    const model = CLOUD_MODELS.find((name) => name === this.#model.value) ?? CLOUD_MODELS[0]
    const slid = Object.values(this.#sliders).some((slider) => slider === target)
    this.#experiment = { model, conditions: preset ?? (slid ? this.#sliderConditions() : this.#experiment.conditions) }
    this.#render()
    this.#onChange(this.#experiment)
  }

  #sliderConditions(): Conditions {
    const { rtt, jitter, loss } = this.#sliders
    return { rtt: Number(rtt.value), jitter: Number(jitter.value), loss: Number(loss.value), offline: false }
  }

  #render(): void {
    const { conditions, model } = this.#experiment
    for (const name of ['rtt', 'jitter', 'loss'] as const) this.#sliders[name].value = String(conditions[name])
    this.#model.value = model
    const same = (a: Conditions): boolean => JSON.stringify(a) === JSON.stringify(conditions)
    for (const radio of this.#form.querySelectorAll<HTMLInputElement>('[name=preset]')) {
      const preset = PRESETS[radio.value]
      radio.checked = preset !== undefined && (same(preset) || (conditions.offline && preset.offline))
    }
    this.#labels(conditions)
    const tag = byId('simulated-tag', HTMLElement)
    const simulated = isSimulated(conditions)
    setText(tag, simulated ? 'simulated' : 'as it is')
    tag.toggleAttribute('data-on', simulated)
  }

  #labels({ rtt, jitter, loss }: Conditions): void {
    setText(byId('rtt-value', HTMLElement), `${rtt} ms`)
    setText(byId('jitter-value', HTMLElement), `${jitter} ms`)
    setText(byId('loss-value', HTMLElement), `${loss} %`)
  }
}
