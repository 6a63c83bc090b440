// Does the jobs of server.ts, one after the other, and answers the clients itself.

import { createReplier } from 'mongrel2-fetch'
import { Pull } from 'zeromq'

const jobs = new Pull({ receiveHighWaterMark: 1 })
jobs.connect(process.env.JOBS ?? 'tcp://127.0.0.1:9995')
const replier = createReplier({ zeromq: process.env.ZEROMQ ?? 'tcp://127.0.0.1:9999,tcp://127.0.0.1:9998' })

// Started by server.ts, it ends with it, also where that has ended before this line; a signal reaches server.ts, too.
if (process.send) {
  process.on('disconnect', () => jobs.close())
  if (!process.connected) jobs.close()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => {})
}

for await (const [message] of jobs) {
  const { token, below } = JSON.parse(String(message))
  const answer = { below, primes: countPrimes(below), worker: process.pid }
  try {
    await replier.reply(token, Response.json(answer))
  } catch (error) {
    // It took too long, or Mongrel2 was restarted.
    console.error(error instanceof Error ? error.message : error)
  }
}
await replier.close()

/** The sieve of Eratosthenes. */
function countPrimes(below: number): number {
  const composite = new Uint8Array(below)
  let count = 0
  for (let number = 2; number < below; number++) {
    if (composite[number]) continue
    count++
    for (let multiple = number * number; multiple < below; multiple += number) composite[multiple] = 1
  }
  return count
}
