import { describe, expect, it } from 'vitest'
import { ModelFormatError } from '../ts/errors.js'
import { isPlan, looksLikeHtml } from '../ts/magic.js'
import { modelKind } from '../ts/sniff.js'

const bytes = (text: string): Uint8Array => Uint8Array.from(text, (c) => c.charCodeAt(0))

describe('modelKind', () => {
  it('knows plans and ONNX', () => {
    expect(modelKind(bytes('NEARPLAN\x01\0\0\0'), 'x')).toBe('plan')
    expect(modelKind(bytes('\x08\x07\x12\x04test'), 'x')).toBe('onnx')
    expect(modelKind(bytes('\x3a\x10'), 'x')).toBe('onnx')
    expect(isPlan(bytes('NEAR'))).toBe(false)
  })

  it.each([
    ['', /is empty/],
    ['version https://git-lfs.github.com/spec/v1\n', /Git LFS pointer/],
    ['PK\x03\x04', /zip archive/],
    ['\x1f\x8b\x08', /gzip/],
    ['\x1c\0\0\0TFL3', /TensorFlow Lite/],
    ['\x28\0\0\0TFL3', /TensorFlow Lite/],
    ['\x28\0\0\0ORTM', /onnxruntime .ort file/],
    ['{"error": 1}', /is JSON/],
    ['<!DOCTYPE html>', /is a web page/],
    ['hello world', /neither an ONNX model nor a compiled plan/],
    ['NEAR', /neither an ONNX model nor a compiled plan/],
  ])('says what %j is', (text, message) => {
    expect(() => modelKind(bytes(text), "'/m.onnx'")).toThrow(ModelFormatError)
    expect(() => modelKind(bytes(text), "'/m.onnx'")).toThrow(message)
  })
})

it.each([
  ['<!doctype html>', true],
  ['\n  <HTML>', true],
  ['\xef\xbb\xbf<!DOCTYPE html>', true],
  ['<?xml version="1.0"?>', true],
  ['\0asm', false],
  ['\x08\x07', false],
])('looksLikeHtml(%j) is %s', (text, expected) => {
  expect(looksLikeHtml(bytes(text))).toBe(expected)
})
