/** Thrown for bytes that break a format. */
export class MalformedError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'MalformedError'
  }
}

/** The error for text where something else was expected; it shows the first 80 characters. */
export function malformed(expected: string, got: string): MalformedError {
  return new MalformedError(`expected ${expected}, got ${JSON.stringify(got.slice(0, 80))}`)
}
