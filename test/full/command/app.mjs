// The app of the tests with the command, which loads the built library: the same that the command is of.

import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { threadId } from 'node:worker_threads'
import { upgradeWebSocket } from '../../../dist/src/index.js'

const WORKER = `${process.pid}.${threadId}`

export default async (request) => {
  const url = new URL(request.url)
  const count = Number(url.searchParams.get('count'))
  switch (url.pathname) {
    case '/socket':
      return socketOf(request)
    case '/digest':
      return Response.json({ worker: WORKER, sha256: await digestOf(request.body) })
    case '/download':
      return new Response(chunks(count), { headers: { worker: WORKER } })
    case '/echo':
      return new Response(await request.arrayBuffer())
    case '/stream':
      return new Response(ticks(count))
    default:
      return new Response(url.pathname)
  }
}

/** Answers each message with its worker, how many came before, and the message. */
function socketOf(request) {
  const { socket, response } = upgradeWebSocket(request)
  let count = 0
  socket.onmessage = ({ data }) => socket.send(`${WORKER} ${count++} ${data}`)
  return response
}

async function digestOf(body) {
  const hash = createHash('sha256')
  for await (const piece of body ?? []) hash.update(piece)
  return hash.digest('hex')
}

/** So many chunks of 16 KiB, no two alike. */
function chunks(count) {
  let sent = 0
  return new ReadableStream(
    {
      pull(controller) {
        controller.enqueue(Buffer.alloc(16_384, `the chunk number ${sent++} `))
        if (sent === count) controller.close()
      },
    },
    { highWaterMark: 0 },
  )
}

/** So many lines, one every 5 ms, with what its process is known by. */
function ticks(count) {
  let sent = 0
  return new ReadableStream({
    async pull(controller) {
      if (sent > 0) await sleep(5)
      controller.enqueue(Buffer.from(`${process.pid} ${sent++}\n`))
      if (sent === count) controller.close()
    },
  })
}
