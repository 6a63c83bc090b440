/**
 * Whether a response was made of one of ours that has no body: it has our header field, no body, and the status of ours or the one that the
 * platform's constructor gives by default. Anything else is an answer of its own, though it may have the field as well: Hono copies the
 * header fields of the response before into the one that replaces it.
 *
 * @param status The status of ours.
 * @param field The name of the field that ours has.
 * @param value The value, which no other response has.
 */
export function isDerived(response: Response, status: number, field: string, value: string): boolean {
  if (response.status !== 200 && response.status !== status) return false
  return response.headers.get(field) === value && response.body === null
}
