/** Whether the buffer of a typed array was transferred: every method then throws. */
export function isDetached(array: { values(): unknown }): boolean {
  try {
    array.values()
    return false
  } catch {
    return true
  }
}
