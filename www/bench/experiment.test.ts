import { describe, expect, it } from 'vitest'

import { DEFAULTS, type Experiment, readExperiment, writeExperiment } from './experiment'

describe('the address', () => {
  it('says nothing for the usual experiment, and reads nothing as that', () => {
    expect(writeExperiment(DEFAULTS)).toBe('')
    expect(readExperiment('')).toEqual(DEFAULTS)
  })

  it('gives back what it was made of', () => {
    const experiment: Experiment = {
      ...{ model: 'https://example.org/a.onnx?b=1&c', form: 'onnx', beside: 'model', other: 'digits.int8', variant: 'simd' },
      ...{ threads: 2, worker: false, n: 7, rounds: 3, dims: { batch: 2, 'a b': 128 }, seed: 9 },
    }
    expect(readExperiment(writeExperiment(experiment))).toEqual(experiment)
  })

  it('takes the usual for what makes no sense', () => {
    expect(readExperiment('?beside=no&n=0&rounds=1.5&threads=-1&variant=&dims=x,y:z')).toEqual(DEFAULTS)
  })
})
