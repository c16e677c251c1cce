/** Whether bytes begin as plans or as web pages do. */

const PLAN_MAGIC = 'NEARPLAN'

/** Whether the bytes are a compiled plan, judged by their magic. */
export function isPlan(bytes: Uint8Array): boolean {
  return text(bytes, 0, PLAN_MAGIC.length) === PLAN_MAGIC
}

/** Whether the bytes begin as a web page does. */
export function looksLikeHtml(bytes: Uint8Array): boolean {
  return /^(\u00ef\u00bb\u00bf)?\s*<(!doctype|html|head|body|!--|\?xml)/i.test(text(bytes, 0, 64))
}

/** Bytes as text, one character each. */
export function text(bytes: Uint8Array, at: number, length: number): string {
  return String.fromCharCode(...bytes.subarray(at, at + length))
}
