// With a million: CONNECTIONS=1000000 FULL=1 npx vitest run test/full/connections.test.ts
// That took 22 minutes on a busy machine with two cores. What the server held stayed between 14.3 and 17.4 MiB, its RSS between 91 and
// 167 MiB with 135 at the end, and stats().connections was back to the 20 that were open after each part.

import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { idleKill } from '../support/idle-kill.ts'
import { type Mongrel2, startMongrel2 } from '../support/mongrel2.ts'
import { ServerProcess, type ServerReport } from '../support/server-process.ts'

const CONNECTIONS = Number(process.env.CONNECTIONS ?? 100_000)
/** As many before memory is looked at for the first time. */
const WARM_UP = 20_000
/** How many are open at once. */
const AT_ONCE = 200
/** Long polls that are open from the beginning to the end, of each Mongrel2. */
const POLLS = 10
const MIB = 1024 * 1024
/** How often memory is looked at. */
const PARTS = 6
/** Bytes that what the server holds may have grown by, from one half of the run to the other. */
const FLAT_HEAP = 8 * MIB
/** The same of its memory as a whole, of which the allocator keeps and gives back some 80 MiB as it likes. */
const FLAT_RSS = 32 * MIB

/**
 * Which Mongrel2 a connection is to: one as it comes or one with flow control; or one of each for what makes Mongrel2 harm others. When
 * it ends a connection, or the client does, amid a write that waits for the client to read, the rest of that write may go to whoever is
 * accepted next and gets the socket's number: he reads what is not his, or waits for ever. So these are ended soon as idle.
 */
type Kind = 'plain' | 'flow control' | 'impatient' | 'impatient, flow control'

const IDLE_KILL = idleKill(1)

/** What a client does on a connection that has just been opened; resolves when it is over. */
type Way = (client: Client) => Promise<void>

/** A connection of which nobody cares what it brings. */
class Client {
  readonly #socket: Socket
  readonly #closed: Promise<unknown>
  /** What the other side said first. */
  first: string | undefined

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.once('data', (bytes) => {
      this.first = bytes.toString('latin1', 0, 9)
    })
    this.#closed = new Promise((resolve) => socket.once('close', resolve))
  }

  /** @param number Spread over many addresses, since the ports of one would run out. */
  static async open(port: number, number: number): Promise<Client> {
    const socket = connect({ host: '127.0.0.1', port, localAddress: `127.0.1.${1 + (number % 250)}`, noDelay: true })
    socket.on('error', () => {}) // whatever ends it, it has ended
    await once(socket, 'connect')
    return new Client(socket)
  }

  send(bytes: string): void {
    this.#socket.write(bytes)
  }

  /** Resolves when something came, or the end. */
  async data(): Promise<void> {
    await Promise.race([once(this.#socket, 'data'), this.#closed])
  }

  /** Reads on until the other side ends it. */
  async toEnd(): Promise<void> {
    this.#socket.resume()
    await this.#closed
  }

  pause(): void {
    this.#socket.pause()
  }

  /** Ends it with a FIN and reads what still comes. */
  async finish(): Promise<void> {
    this.#socket.resume().end()
    await this.#closed
  }

  /** Ends it with a RST. */
  async reset(): Promise<void> {
    this.#socket.resetAndDestroy()
    await this.#closed
  }
}

const get = (path: string, ...fields: string[]) =>
  `${[`GET ${path} HTTP/1.1`, 'Host: localhost', ...fields].join('\r\n')}\r\n\r\n`
const post = (length: number, bytes: number) =>
  `POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${length}\r\n\r\n${'x'.repeat(bytes)}`

/** What costs no more than a request, by name; each as often as the others. */
const WAYS: Record<string, Way> = {
  'leaves without a word': (client) => client.finish(),
  'is reset without a word': (client) => client.reset(),
  'leaves amid the head': async (client) => {
    client.send('GET / HTTP/1.1\r\nHo')
    await client.finish()
  },
  'is reset amid the head': async (client) => {
    client.send('GET / HTTP/1.1\r\nHo')
    await client.reset()
  },
  'leaves amid the body': async (client) => {
    client.send(post(1000, 10))
    await client.finish()
  },
  'is reset amid the body': async (client) => {
    client.send(post(1000, 10))
    await client.reset()
  },
  'is reset amid a body that is stored': async (client) => {
    client.send(post(50_000, 30_000))
    await sleep(5)
    await client.reset()
  },
  'half-closes behind its request': async (client) => {
    client.send(get('/late'))
    await client.finish()
  },
  'is reset behind its request': async (client) => {
    client.send(get('/late'))
    await sleep(5)
    await client.reset()
  },
  'leaves a request that is never answered': async (client) => {
    client.send(get('/never'))
    await sleep(5)
    await client.finish()
  },
  'leaves after the answer': async (client) => {
    client.send(get('/'))
    await client.data()
    await client.finish()
  },
  'is reset after the answer': async (client) => {
    client.send(get('/'))
    await client.data()
    await client.reset()
  },
  'asks three times and leaves': async (client) => {
    for (let request = 0; request < 3; request++) {
      client.send(get('/'))
      await client.data()
    }
    await client.finish()
  },
  'pipelines and is gone': async (client) => {
    client.send(get('/') + get('/late') + get('/') + get('/late') + get('/'))
    await sleep(2)
    await client.reset()
  },
  'pipelines more than may run, and leaves': async (client) => {
    client.send(get('/late').repeat(20))
    await client.data()
    await client.finish()
  },
  'wants its connection closed': async (client) => {
    client.send(get('/', 'Connection: close'))
    await client.toEnd()
  },
  'speaks HTTP/1.0': async (client) => {
    client.send('GET / HTTP/1.0\r\n\r\n')
    await client.toEnd()
  },
  'is refused': async (client) => {
    client.send('GET / HTTP/1.1\r\n\r\n')
    await client.toEnd()
  },
  'is refused with more behind it': async (client) => {
    client.send(`GET / HTTP/1.1\r\n\r\n${get('/')}${get('/')}`)
    await client.toEnd()
  },
  'asks for a WebSocket, which is refused': async (client) => {
    client.send(
      get(
        '/',
        'Upgrade: websocket',
        'Connection: Upgrade',
        'Sec-WebSocket-Version: 13',
        'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==',
      ),
    )
    await client.toEnd()
  },
  'is reset amid a stream': async (client) => {
    client.send(get('/trickle'))
    await client.data()
    await client.reset()
  },
  'half-closes amid a stream': async (client) => {
    client.send(get('/trickle'))
    await client.data()
    await client.finish()
  },
}

/** Holds a request open until Mongrel2 ends the connection as idle. */
const isEndedAsIdle: Way = async (client) => {
  client.send(get('/never'))
  await client.toEnd()
}

/** Does not read for a while, in which Mongrel2 ends it for having too much to deliver, or, with flow control, it waits. */
const doesNotRead: Way = async (client) => {
  client.send(get('/flood'))
  await client.data()
  client.pause()
  await sleep(2000)
  await client.reset()
}

it(`${CONNECTIONS} connections opened and dropped in every way leave nothing behind, and memory flat`, async () => {
  await using plain = await startMongrel2()
  await using flowing = await startMongrel2({ flowControl: true })
  await using impatient = await startMongrel2({ settings: IDLE_KILL })
  await using impatientFlowing = await startMongrel2({ settings: IDLE_KILL, flowControl: true })
  const mongrel2s: Record<Kind, Mongrel2> = {
    plain,
    'flow control': flowing,
    impatient,
    'impatient, flow control': impatientFlowing,
  }
  await using server = await ServerProcess.start(new URL('connections/app.ts', import.meta.url), {
    zeromq: Object.values(mongrel2s).map(({ endpoint, directory }) => {
      const [sendSpec = '', recvSpec = ''] = endpoint.split(',')
      return { sendSpec, recvSpec, chroot: directory }
    }),
    // Longer than the impatient one waits, so that it ends them and the next sign of life finds them gone.
    keepAliveInterval: 10_000,
    // No client is as quick and nothing else tells what was read, so Mongrel2 ends those that do not read.
    minClientRate: 1024 * MIB,
    controlPort: false,
    maxBufferedBytes: MIB / 4,
    logger: {},
  })
  const polls: Client[] = []
  for (const kind of ['plain', 'flow control'] as const) {
    for (let number = 0; number < POLLS; number++) {
      const client = await Client.open(mongrel2s[kind].port, number)
      client.send(get('/never'))
      polls.push(client)
    }
  }

  const ways = Object.values(WAYS)
  let opened = 0
  let strays = 0
  const round = async (until: number) => {
    const client = async () => {
      while (opened < until) {
        const number = opened++
        const rare: [kind: Kind, way: Way] | undefined =
          number % 1000 === 0
            ? [number % 2000 === 0 ? 'impatient' : 'impatient, flow control', doesNotRead]
            : number % 100 === 1
              ? ['impatient', isEndedAsIdle]
              : undefined
        const turn = Math.floor(number / ways.length)
        const [kind, way] = rare ?? [turn % 2 === 0 ? 'plain' : 'flow control', ways[number % ways.length] as Way]
        const opening = await Client.open(mongrel2s[kind].port, number)
        await way(opening)
        if (!kind.startsWith('impatient') && opening.first !== undefined && opening.first !== 'HTTP/1.1 ') strays++
      }
    }
    await Promise.all(Array.from({ length: AT_ONCE }, client))
    const stats = async () => (await server.report()).stats
    await expect.poll(stats, { timeout: 60_000 }).toMatchObject({ connections: polls.length, inFlight: polls.length })
    return await server.report({ collect: true })
  }

  const begun = performance.now()
  const reports: ServerReport[] = []
  for (let part = 0; part <= PARTS; part++) reports.push(await round(WARM_UP + (part * CONNECTIONS) / PARTS))
  const table = reports.map(({ rss, heap }) => `${Math.round(rss / MIB)}/${(heap / MIB).toFixed(1)}`).join(' ')
  const { stats } = reports.at(-1) as ServerReport
  console.log(
    `${CONNECTIONS} connections in ${Math.round((performance.now() - begun) / 1000)} s, MiB of RSS/heap after each part: ${table}, ${JSON.stringify(stats)}`,
  )
  const early = reports.slice(0, PARTS / 2)
  const late = reports.slice(PARTS / 2)
  const least = (some: readonly ServerReport[]) => Math.min(...some.map(({ heap }) => heap))
  expect(least(late) - least(early)).toBeLessThan(FLAT_HEAP)
  expect((reports.at(-1) as ServerReport).rss - Math.max(...early.map(({ rss }) => rss))).toBeLessThan(FLAT_RSS)
  expect(stats.malformed).toBe(0)
  expect(strays).toBe(0)
  // Mongrel2 did end connections by itself, for what it could not deliver and for their silence.
  expect(await impatient.errorLog()).toContain('Failed to deliver to connection')
  expect(await impatient.errorLog()).toMatch(/Killed \d+ connections/)
  for (const client of polls) await client.finish()
  await expect.poll(async () => (await server.report()).stats).toMatchObject({ connections: 0, inFlight: 0 })
}, 3_600_000)
