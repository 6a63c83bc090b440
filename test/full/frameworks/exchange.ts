/** A request, as data that another process can send. */
export interface Exchange {
  /** Unless given, GET, or POST with a body. */
  readonly method?: string
  readonly path: string
  readonly headers?: Readonly<Record<string, string>>
  /** A text, bytes, or the fields of a form (`multipart/form-data`). */
  readonly body?: string | Uint8Array | FormFields
  /** What differs from one run to the next, such as random identifiers; each is replaced in headers and body before they are compared. */
  readonly volatile?: readonly RegExp[]
  /**
   * The response has `steps()` in it. `read`: each step must arrive before the next one is made. `leave`: the client leaves
   * after the first step, which must end the generator.
   */
  readonly steps?: 'read' | 'leave'
}

export type FormFields = Readonly<Record<string, string | FormFile>>

export interface FormFile {
  readonly name: string
  readonly type: string
  readonly content: string | Uint8Array
}

/** The requests of a framework by what they show. One follows the other, with the cookies that were set before. */
export type Exchanges = Readonly<Record<string, Exchange>>

/** A request with a body of JSON. */
export function json(path: string, value: unknown, more: Omit<Exchange, 'path' | 'body'> = {}): Exchange {
  return {
    ...more,
    path,
    body: JSON.stringify(value),
    headers: { 'content-type': 'application/json', ...more.headers },
  }
}

/** More than Mongrel2 keeps in memory: it stores such a body in a file, or streams it. */
export const LARGE = new Uint8Array(300_000).map((_, n) => n % 251)
