/**
 * The errors of the package. Each message is a sentence that names the thing and the remedy; each class is one reason
 * to act differently. An aborted call rejects with its signal's own reason, as `fetch` does, so it has no class here.
 */

/** Base of all errors that this package throws on purpose. */
export class NearsideError extends Error {
  override name = 'NearsideError'
}

/** The bytes are not a model: not ONNX, truncated, or inconsistent. */
export class ModelFormatError extends NearsideError {
  override name = 'ModelFormatError'
}

/** The bytes are a compiled plan that this version cannot read: damaged, truncated, or written by a newer version. */
export class PlanError extends NearsideError {
  override name = 'PlanError'
}

/** The model, or this browser, lacks or holds something that Nearside cannot work with. */
export class UnsupportedError extends NearsideError {
  override name = 'UnsupportedError'
}

/** What was given to a call does not fit: a missing or extra input, a wrong shape or type, an impossible option. */
export class InputError extends NearsideError {
  override name = 'InputError'
}

/** A limit was exceeded: a tensor or model that does not fit in memory. */
export class LimitError extends NearsideError {
  override name = 'LimitError'
}

/** Why a {@link NetworkError} happened. */
export type NetworkReason =
  /** No answer at all: offline, a refused connection, CORS. */
  | 'unreachable'
  /** An answer with an error status. */
  | 'status'
  /** Nothing arrived for as long as the `timeout` option allows. */
  | 'timeout'
  /** A web page where a model or a WebAssembly file was expected. */
  | 'html'
  /** An answer that does not follow the protocol. */
  | 'protocol'

/** Something could not be fetched. */
export class NetworkError extends NearsideError {
  override name = 'NetworkError'
  /** What was being fetched. */
  readonly url: string
  /** Why it failed. */
  readonly reason: NetworkReason
  /** HTTP status, if there was an answer. */
  readonly status: number | undefined
  /** Seconds after which the server asks to be tried again (its `Retry-After` header). */
  readonly retryAfter: number | undefined

  constructor(
    message: string,
    about: { url: string; reason: NetworkReason; status?: number | undefined; retryAfter?: number | undefined; cause?: unknown },
  ) {
    super(message, about.cause === undefined ? undefined : { cause: about.cause })
    this.url = about.url
    this.reason = about.reason
    this.status = about.status
    this.retryAfter = about.retryAfter
  }
}

/** The bytes do not have the sha-256 that the `integrity` option demands. */
export class IntegrityError extends NearsideError {
  override name = 'IntegrityError'
  /** The demanded digest, `sha256-…` in base64. */
  readonly expected: string
  /** The digest of what arrived. */
  readonly actual: string

  constructor(message: string, digests: { expected: string; actual: string }) {
    super(message)
    this.expected = digests.expected
    this.actual = digests.actual
  }
}

/** The model was used after `dispose()`. */
export class DisposedError extends NearsideError {
  override name = 'DisposedError'
}

/** The Worker could not start or died. The next call starts a new one and brings the models back. */
export class WorkerError extends NearsideError {
  override name = 'WorkerError'
}

/** A defect of Nearside itself. The runtime is restarted, so that the next call works. */
export class InternalError extends NearsideError {
  override name = 'InternalError'
}
