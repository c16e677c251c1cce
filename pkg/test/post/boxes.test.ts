import { describe, expect, it } from 'vitest'
import { place } from '../../ts/fit.js'
import { InputError, Tensor } from '../../ts/index.js'
import { type Box, type Detection, fitOf, nms, type NmsOptions, toPicture } from '../../ts/post/index.js'
import { seeded } from '../random.js'

const random = seeded(3)

/** Intersection over union, by counting the points of a grid: boxes have whole corners. */
function sharedPart(a: Box, b: Box): number {
  const inside = ([l, t, r, d]: Box, x: number, y: number): boolean => x >= l && x < r && y >= t && y < d
  let [both, either] = [0, 0]
  for (let x = 0; x < 24; x++)
    for (let y = 0; y < 24; y++) {
      both += Number(inside(a, x, y) && inside(b, x, y))
      either += Number(inside(a, x, y) || inside(b, x, y))
    }
  return either === 0 ? 0 : both / either
}

/** The definition: the best of what is left is kept, and whatever shares too much with it goes. */
function reference(
  boxes: readonly Box[],
  scores: readonly (readonly number[])[],
  options: NmsOptions,
): [index: number, classIndex: number][] {
  const { iouThreshold = 0.5, scoreThreshold = 0.25, maxDetections = 100, perClass = true } = options
  let left: { index: number; classIndex: number; score: number }[] = []
  scores.forEach((row, index) => {
    const sound = row.map((score, classIndex) => ({ index, classIndex, score })).filter(({ score }) => score >= scoreThreshold)
    if (perClass) left.push(...sound)
    else if (sound.length > 0) left.push(sound.reduce((a, b) => (b.score > a.score ? b : a)))
  })
  const kept: [number, number][] = []
  while (left.length > 0 && kept.length < maxDetections) {
    const best = left.reduce((a, b) => (b.score > a.score ? b : a))
    kept.push([best.index, best.classIndex])
    left = left.filter(
      (other) =>
        other !== best &&
        !(
          (!perClass || other.classIndex === best.classIndex) &&
          sharedPart(boxes[other.index] as Box, boxes[best.index] as Box) > iouThreshold
        ),
    )
  }
  return kept
}

const FORMATS = {
  xyxy: ([l, t, r, b]: Box) => [l, t, r, b],
  yxyx: ([l, t, r, b]: Box) => [t, l, b, r],
  cxcywh: ([l, t, r, b]: Box) => [(l + r) / 2, (t + b) / 2, r - l, b - t],
}

describe('nms', () => {
  it('keeps what the definition keeps, whatever the options and the order of the numbers', () => {
    const whole = (below: number): number => Math.floor(random() * below)
    for (let round = 0; round < 400; round++) {
      const [count, classes] = [1 + whole(12), 1 + whole(3)]
      const boxes = Array.from({ length: count }, (): Box => {
        const [left, top] = [whole(20), whole(20)]
        return [left, top, left + whole(5), top + whole(5)]
      })
      // Few different scores, so that there are equal ones.
      const scores = boxes.map(() => Array.from({ length: classes }, () => whole(8) / 8))
      const format = (['xyxy', 'yxyx', 'cxcywh'] as const)[whole(3)] ?? 'xyxy'
      const columns = whole(2) === 1
      const options: NmsOptions = {
        iouThreshold: whole(10) / 10,
        scoreThreshold: whole(5) / 8,
        maxDetections: 1 + whole(8),
        perClass: whole(2) === 1,
        format,
        columns,
      }
      const turned = (list: readonly (readonly number[])[]): number[][] =>
        (list[0] ?? []).map((_, i) => list.map((row) => row[i] ?? NaN))
      const flat = boxes.map((box) => FORMATS[format](box))
      const given = columns ? turned(flat) : flat
      const points = columns ? turned(scores) : scores
      const found = nms(
        new Tensor('float32', given.flat(), [1, given.length, given[0]?.length ?? 0]),
        new Tensor('float32', points.flat(), [points.length, points[0]?.length ?? 0]),
        options,
      )
      expect(found.map(({ index, classIndex }) => [index, classIndex])).toEqual(reference(boxes, scores, options))
      for (const { box, index, classIndex, score } of found) {
        expect(box).toEqual(boxes[index])
        expect(score).toBe(scores[index]?.[classIndex])
      }
    }
  })

  it('ignores what is not a number', () => {
    const boxes = [0, 0, NaN, 1, 0, 0, 1, 1, 5, 5, 6, 6]
    expect(nms(boxes, [1, NaN, 0.5]).map(({ index }) => index)).toEqual([2])
  })

  it('names classes', () => {
    const [first] = nms([0, 0, 1, 1], [0.1, 0.9], { labels: ['cat', 'dog'] })
    const want: Detection = { box: [0, 0, 1, 1], score: 0.9, classIndex: 1, label: 'dog', index: 0 }
    expect(first).toEqual(want)
    expect(nms([], [])).toEqual([])
  })

  it.each<[string, () => unknown, string]>([
    [
      'boxes of five numbers',
      () => nms(new Tensor('float32', new Float32Array(20), [4, 5]), [1]),
      'have the shape [4, 5]; give N×4',
    ],
    ['boxes as rows', () => nms(new Tensor('float32', new Float32Array(20), [5, 4]), [1], { columns: true }), 'give 4×N'],
    ['a number too many', () => nms([1, 2, 3, 4, 5], [1]), 'give N×4 numbers'],
    ['too few scores', () => nms(new Float32Array(12), [1, 2]), 'There are 2 scores for 3 boxes'],
    ['a threshold', () => nms([0, 0, 1, 1], [1], { iouThreshold: 2 }), 'iouThreshold is 2; give a number from 0 to 1'],
    ['no threshold', () => nms([0, 0, 1, 1], [1], { scoreThreshold: NaN }), 'scoreThreshold is NaN'],
    ['a half', () => nms([0, 0, 1, 1], [1], { maxDetections: 0.5 }), 'maxDetections is 0.5'],
    ['a format', () => nms([0, 0, 1, 1], [1], { format: 'xywh' as 'xyxy' }), "'xywh'; use 'xyxy', 'yxyx' or 'cxcywh'"],
    ['labels', () => nms([0, 0, 1, 1], [1], { labels: ['a', 'b'] }), 'There are 2 labels for 1 classes'],
    ['no options', () => nms([0, 0, 1, 1], [1], null as unknown as object), 'The options are null; give an object'],
  ])('refuses %s', (_, work, text) => {
    expect(work).toThrow(InputError)
    expect(work).toThrow(text)
  })
})

describe('fits', () => {
  it('are CSS’s', () => {
    const picture = { width: 640, height: 480 }
    const frame = { width: 224, height: 224 }
    expect(place(picture, frame, 'fill', 1)).toEqual({
      window: { left: 0, top: 0, width: 640, height: 480 },
      frame: { left: 0, top: 0, width: 224, height: 224 },
    })
    expect(place(picture, frame, 'cover', 1)).toEqual({
      window: { left: 80, top: 0, width: 480, height: 480 },
      frame: { left: 0, top: 0, width: 224, height: 224 },
    })
    expect(place(picture, frame, 'cover', 0.875).window).toEqual({ left: 110, top: 30, width: 420, height: 420 })
    expect(place(picture, frame, 'contain', 1)).toEqual({
      window: { left: 0, top: 0, width: 640, height: 480 },
      frame: { left: 0, top: 28, width: 224, height: 168 },
    })
    // A line that is scaled to less than a pixel is one, and the odd margin is at the end.
    expect(place({ width: 1000, height: 1 }, { width: 10, height: 10 }, 'contain', 1).frame).toEqual({
      left: 0,
      top: 4,
      width: 10,
      height: 1,
    })
  })

  it('lead back to the picture', () => {
    for (let round = 0; round < 200; round++) {
      const size = (): { width: number; height: number } => ({
        width: 1 + Math.floor(random() * 900),
        height: 1 + Math.floor(random() * 900),
      })
      const [picture, seen] = [size(), size()]
      const fit = (['fill', 'contain', 'cover'] as const)[Math.floor(random() * 3)]
      const crop = random() < 0.5 ? 1 : 0.5 + random() / 2
      const fitted = fitOf(picture, seen, { fit, crop })
      const { window: w, frame: f } = fitted
      // A box somewhere in what was seen, as the model sees it.
      const x = [w.left + random() * w.width, w.left + random() * w.width].sort((a, b) => a - b) as [number, number]
      const y = [w.top + random() * w.height, w.top + random() * w.height].sort((a, b) => a - b) as [number, number]
      const there = (v: number, axis: 'x' | 'y'): number =>
        axis === 'x' ? f.left + ((v - w.left) / w.width) * f.width : f.top + ((v - w.top) / w.height) * f.height
      const box: Box = [there(x[0], 'x'), there(y[0], 'y'), there(x[1], 'x'), there(y[1], 'y')]
      const back = toPicture(box, fitted)
      ;[x[0], y[0], x[1], y[1]].forEach((v, i) => expect(back[i]).toBeCloseTo(v, 6))
      const relative: Box = [box[0] / seen.width, box[1] / seen.height, box[2] / seen.width, box[3] / seen.height]
      toPicture(relative, fitted, { relative: true }).forEach((v, i) => expect(v).toBeCloseTo(back[i] ?? NaN, 6))
    }
  })

  it('cut off what was not seen, and refuse what is impossible', () => {
    const fitted = fitOf({ width: 200, height: 100 }, { width: 100, height: 100 }, { fit: 'contain' })
    expect(toPicture([-5, 0, 105, 100], fitted)).toEqual([0, 0, 200, 100])
    const wrong = (value: unknown): never => value as never
    expect(() => toPicture(wrong(undefined), fitted)).toThrow(
      new InputError('A box has four numbers; give those of a detection.'),
    )
    expect(() => toPicture([1, 2, 3, 4], wrong({}))).toThrow('A fit is what fitOf gives')
    expect(() => fitOf(wrong(undefined), { width: 1, height: 1 })).toThrow(InputError)
    expect(() => fitOf({ width: 0, height: 1 }, { width: 1, height: 1 })).toThrow('A size is 0×1')
    expect(() => fitOf({ width: 1, height: 1 }, { width: 1, height: 1 }, { fit: 'none' as 'fill' })).toThrow("'none'")
    expect(() => fitOf({ width: 1, height: 1 }, { width: 1, height: 1 }, { crop: 0 })).toThrow('crop is 0')
  })
})
