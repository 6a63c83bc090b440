import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { get } from 'node:http'

/** What the client tells us: whether a step has arrived. */
async function ask(path: string): Promise<void> {
  const request = get(`${process.env.STEPS}${path}`)
  const [response] = await once(request, 'response')
  response.resume()
  await once(response, 'end')
}

/**
 * Yields `step-1`, `step-2` and so on, each when the client has read the one before. Reports how it ended: `finished`, or `left` when
 * the consumer stopped early.
 */
export async function* steps(count = 3): AsyncGenerator<string, void, undefined> {
  let end = 'left'
  try {
    for (let n = 1; n <= count; n++) {
      yield `step-${n}`
      await ask(`/read/${n}`)
    }
    end = 'finished'
  } finally {
    await ask(`/${end}`)
  }
}

/** Steps without an end. */
export function endlessSteps(): AsyncGenerator<string, void, undefined> {
  return steps(Number.POSITIVE_INFINITY)
}

/** A body of steps, a line each. */
export function linesOf(source: AsyncGenerator<string>): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder()
  return new ReadableStream({
    async pull(controller) {
      const { value, done } = await source.next()
      if (done) controller.close()
      else controller.enqueue(encoder.encode(`${value}\n`))
    },
    async cancel() {
      await source.return(undefined)
    },
  })
}

/** What is compared of a file. */
export async function digest(file: Blob | ArrayBuffer | Uint8Array): Promise<{ size: number; sha256: string }> {
  const bytes = file instanceof Blob ? new Uint8Array(await file.arrayBuffer()) : new Uint8Array(file)
  return { size: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') }
}
