import { expect, test } from 'vitest'
import { AS_IT_IS, describeConditions, readQuery, serverPath, writeQuery } from './network'

test('nothing is simulated by default', () => {
  expect(readQuery('')).toEqual({ conditions: AS_IT_IS, model: 'digits.int8' })
  expect(writeQuery(readQuery(''))).toBe('')
  expect(serverPath(AS_IT_IS)).toBe('')
  expect(describeConditions(AS_IT_IS)).toBe('as it is')
})

test('an address holds the experiment', () => {
  for (const query of ['?rtt=80&jitter=20&loss=2', '?offline', '?rtt=40&offline&model=digits', '?model=digits']) {
    expect(writeQuery(readQuery(query))).toBe(query)
  }
})

test('what an address says wrongly is left out', () => {
  for (const query of ['?rtt=-5', '?rtt=fast', '?rtt=99999', '?loss=NaN', '?model=../etc']) {
    expect(readQuery(query)).toEqual(readQuery(''))
  }
})

test('the server is asked by path', () => {
  expect(serverPath(readQuery('?rtt=80&jitter=20&loss=2').conditions)).toBe('simulate/rtt=80,jitter=20,loss=2')
  expect(serverPath(readQuery('?rtt=80&offline').conditions)).toBe('simulate/offline')
})

test('conditions in words leave out what is zero', () => {
  expect(describeConditions(readQuery('?rtt=80&loss=2').conditions)).toBe('80 ms added round trip, 2 % loss')
  expect(describeConditions(readQuery('?offline').conditions)).toBe('offline')
})
