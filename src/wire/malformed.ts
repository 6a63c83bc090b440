/** Thrown by the parsers of this folder for bytes that break the format; the message says what was expected and what came. */
export class MalformedError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'MalformedError'
  }
}
