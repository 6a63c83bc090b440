/** What an event says besides its data. */
export interface EventFields {
  /** What kind of event it is: a page listens for it by this name. Default: `message`. */
  readonly event?: string
  /** What the page says as `Last-Event-ID` when it comes back. */
  readonly id?: string
}

/** Renders an event of `text/event-stream` (HTML standard, section 9.2). Fields have no line breaks, and an id no U+0000. */
export function renderEvent(data: string, { event, id }: EventFields = {}): Buffer {
  let text = ''
  if (id !== undefined) text += `id: ${id}\n`
  if (event !== undefined) text += `event: ${event}\n`
  for (const line of data.split(/\r\n|\r|\n/)) text += `data: ${line}\n`
  return Buffer.from(`${text}\n`)
}
