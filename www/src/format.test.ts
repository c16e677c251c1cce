import { expect, test } from 'vitest'
import { formatBytes, formatCount, formatDollars, formatMany, formatMs, formatRatio, formatShare, sentenceOf } from './format'

test('times', () => {
  expect([0, 0.314, 9.96, 84.26, 99.6, 999.4, 1234].map(formatMs)).toEqual([
    '0.00 ms',
    '0.31 ms',
    '10.0 ms',
    '84.3 ms',
    '100 ms',
    '999 ms',
    '1.23 s',
  ])
})

test('bytes', () => {
  expect([0, 1, 784, 70_990, 999_960, 14_200_000].map(formatBytes)).toEqual([
    '0 bytes',
    '1 byte',
    '784 bytes',
    '71.0 KB',
    '1.0 MB',
    '14.2 MB',
  ])
})

test('shares never claim certainty that is not there', () => {
  expect([0, 0.0001, 0.5, 0.9994, 0.99999, 1].map(formatShare)).toEqual([
    '0.0 %',
    '< 0.1 %',
    '50.0 %',
    '99.9 %',
    '> 99.9 %',
    '100.0 %',
  ])
})

test('counts and ratios', () => {
  expect(formatCount(1, 'call')).toBe('1 call')
  expect(formatCount(1234, 'call')).toBe('1,234 calls')
  expect([1.26, 12.4, 243].map(formatRatio)).toEqual(['1.3', '12', '240'])
})

test('money, however little', () => {
  expect([0, 0.0000027778, 0.046, 0.1, 1.5, 2400].map(formatDollars)).toEqual([
    '$0',
    '$0.0000028',
    '$0.046',
    '$0.10',
    '$1.50',
    '$2,400.00',
  ])
  expect([840, 36_123_456].map(formatMany)).toEqual(['840', '36 million'])
})

test('an error is its sentence, whatever else was thrown is a string', () => {
  expect(sentenceOf(new TypeError('The tensor has no data.'))).toBe('The tensor has no data.')
  expect(sentenceOf('stop')).toBe('stop')
})
