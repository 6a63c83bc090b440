/** Thrown for bytes that break a format; says what was expected and what came. */
export class MalformedError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'MalformedError'
  }
}
