import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { pathToFileURL } from 'node:url'

import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'

import { InputError } from '../ts/errors.js'
import { fetchAny, fileAddress, isNode, openFiles } from '../ts/files.js'
import { Model } from '../ts/index.js'

let folder: string
let path: string

beforeAll(async () => {
  await openFiles()
  folder = await mkdtemp(join(tmpdir(), 'nearside-files-'))
  path = join(folder, 'a file.bin')
  await writeFile(
    path,
    Uint8Array.from({ length: 100 }, (_, i) => i),
  )
})

afterAll(() => rm(folder, { recursive: true }))

test('a page has none, even with a stand-in for Node.js', () => {
  expect(isNode()).toBe(true)
  vi.stubGlobal('location', new URL('https://example.org'))
  expect(isNode()).toBe(false)
  vi.unstubAllGlobals()
  vi.stubGlobal('process', { env: {} })
  expect(isNode()).toBe(false)
  vi.unstubAllGlobals()
})

test('Node.js before 20.16 gives its modules by import', async () => {
  vi.stubGlobal('process', { versions: process.versions })
  await openFiles()
  vi.unstubAllGlobals()
  expect(fileAddress(path)).toEqual(pathToFileURL(path))
})

describe('files of this machine', () => {
  test('are named by a path or an address; addresses of servers stay', () => {
    const address = pathToFileURL(path).href
    expect(String(fileAddress(path))).toBe(address)
    expect(String(fileAddress(relative(process.cwd(), path)))).toBe(address)
    expect(String(fileAddress(address))).toBe(address)
    for (const other of ['https://example.org/a', 'HTTP://example.org/a', 'data:,a', 'blob:a', 7])
      expect(fileAddress(other)).toBe(other)
  })

  test('are read whole, with their length', async () => {
    const response = await fetchAny(pathToFileURL(path), {})
    expect(response.status).toBe(200)
    expect(response.headers.get('content-length')).toBe('100')
    expect(new Uint8Array(await response.arrayBuffer())).toHaveLength(100)
  })

  test.each([
    ['bytes=10-19', 10, 10],
    ['bytes=90-200', 90, 10],
    ['bytes=100-100', 100, 0],
  ])('are read in part: %s', async (range, start, length) => {
    const response = await fetchAny(pathToFileURL(path), { headers: { range } })
    expect(response.status).toBe(206)
    const bytes = new Uint8Array(await response.arrayBuffer())
    expect([...bytes]).toEqual(Array.from({ length }, (_, i) => start + i))
  })

  test('that are missing, or folders, are errors that say so', async () => {
    const missing = fetchAny(pathToFileURL(join(folder, 'a missing')), {})
    await expect(missing).rejects.toThrow(InputError)
    await expect(missing).rejects.toThrow(/a missing cannot be read: there is no such file; check the path/)
    await expect(fetchAny(pathToFileURL(folder), {})).rejects.toThrow(
      /is not a file; give the path of an ONNX model or of a plan\.$/,
    )
  })

  test('say nothing of the network when they are loaded', async () => {
    await expect(Model.load(join(folder, 'missing.onnx'))).rejects.toThrow(
      /missing\.onnx cannot be read: there is no such file; check the path/,
    )
  })

  test.each(['stat', 'read'] as const)('are closed if %s fails', async (broken) => {
    const close = vi.fn(() => Promise.resolve())
    const file = {
      stat: () => Promise.resolve({ size: 1, isFile: () => true }),
      read: () => Promise.resolve({ bytesRead: 1 }),
      close,
      [broken]: () => Promise.reject(new Error('EIO: the disk is broken')),
    }
    const system = { open: () => Promise.resolve(file) }
    const get = process.getBuiltinModule.bind(process)
    const modules = vi
      .spyOn(process, 'getBuiltinModule')
      .mockImplementation((name: string) => (name === 'node:fs/promises' ? system : get(name)))
    await openFiles()
    modules.mockRestore()
    const answer = fetchAny(pathToFileURL(path), {}).then((response) => response.arrayBuffer())
    await expect(answer).rejects.toMatchObject({
      name: 'InputError',
      message: expect.stringContaining('disk is broken') as string,
    })
    expect(close).toHaveBeenCalledOnce()
    await openFiles()
  })
})
