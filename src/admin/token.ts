/** Whether a token has at least 16 characters, of printable ASCII. */
export function isToken(token: unknown): token is string {
  return typeof token === 'string' && /^[!-~]{16,}$/.test(token)
}
