import { expect, test } from 'vitest'
import { inkOf } from './picture'

const WIDTH = 8
const HEIGHT = 6

/** A bar of one grey on another. */
function bar(ink: number, paper: number, grain = 0): Uint8ClampedArray {
  return Uint8ClampedArray.from({ length: WIDTH * HEIGHT }, (_, at) => {
    const [x, y] = [at % WIDTH, Math.floor(at / WIDTH)]
    return x === 4 && y > 0 && y < 5 ? ink : paper + (at % 2) * grain
  })
}

const BAR = [...bar(255, 0)]

test.each([
  ['dark on light', bar(20, 250)],
  ['light on dark', bar(240, 10)],
  ['pale, on grainy paper', bar(90, 160, 15)],
])('%s: the bar is ink', (_, grey) => {
  expect([...inkOf(grey, WIDTH, HEIGHT)].map((ink) => (ink > 200 ? 255 : ink))).toEqual(BAR)
})

test.each([
  ['one grey', bar(128, 128)],
  ['grain alone', bar(200, 200, 8)],
])('%s is paper', (_, grey) => {
  expect(Math.max(...inkOf(grey, WIDTH, HEIGHT))).toBe(0)
})
