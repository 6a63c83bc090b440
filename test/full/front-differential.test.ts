import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createGateway, type Gateway } from '../../src/gateway/index.ts'
import type { Mongrel2Server } from '../../src/index.ts'
import app from '../e2e/differential/app.ts'
import { cases } from '../e2e/differential/cases.ts'
import type { Conversation } from '../e2e/differential/conversation.ts'
import { matchers } from '../e2e/differential/difference.ts'
import { differences, type Observation, observe } from '../e2e/differential/observation.ts'
import { CollectingLogger } from '../support/logger.ts'
import { createNginxDirectory } from '../support/nginx.ts'
import { serveMongrel2 } from '../support/serve.ts'
import { CHANGES, WITHOUT_LENGTH } from './front-servers/changes.ts'
import { startFrontServers, WAYS, type Way } from './front-servers/through.ts'

// Each case of the differential suite through each front server: the client sees what it sees by plain HTTP, but for CHANGES.

/** About the front server's own connection, or of its own making. */
const FRONT_SERVERS_OWN = new Set(['server', 'date', 'accept-ranges', 'interim', 'afterwards'])

let gateway: Gateway
let server: Mongrel2Server
let stop: () => Promise<unknown>
let ways: readonly Way[]
const logger = new CollectingLogger()

beforeAll(async () => {
  const directory = await createNginxDirectory()
  const endpoint = { sendSpec: `ipc://${directory}/send`, recvSpec: `ipc://${directory}/recv` }
  const place = '127.0.0.1:0'
  gateway = await createGateway({
    ...{ http: place, uwsgi: place, fastcgi: place, scgi: place },
    routes: [{ path: '/', ...endpoint }],
    flowControl: true,
    logger,
  })
  server = serveMongrel2(app, { zeromq: endpoint, logger: {} })
  await server.ready
  const started = await startFrontServers(
    (protocol) => gateway.addresses.find((one) => one.protocol === protocol)?.at ?? '',
  )
  ways = started.ways
  stop = () => Promise.all(started.servers.map((one) => one[Symbol.asyncDispose]()))
})

afterAll(async () => {
  await stop?.()
  await server?.close({ timeout: 1000 })
  await gateway?.close()
})

/** What a client sees, without what is the front server's own. */
async function observation(way: string, port: number, conversation: Conversation): Promise<Observation> {
  const observed = await observe(port, conversation)
  const of = (prefix: string, name: string) => observed[prefix + name]
  const seen = Object.entries(observed).flatMap(([name, value]) => {
    const [, prefix = '', field = ''] = /^(\d+: )?(.*)$/.exec(name) ?? []
    if (FRONT_SERVERS_OWN.has(field)) return []
    // How much of an answer arrives that breaks off, or of a body that is compared itself, is no matter.
    if (field === 'body' && of(prefix, 'ending') !== 'complete') return []
    const empty = of(prefix, 'body') === '' && of(prefix, 'ending') === 'complete'
    if (field === 'content-length' && (!empty || WITHOUT_LENGTH.includes(way))) return []
    // The version, and the field Connection, are about the client's connection.
    if (field === 'status') return [[name, value.replace('HTTP/1.0', 'HTTP/1.1')]]
    return [[name, value.replace(/\["connection","[^"]*"\],?/, '')]]
  })
  return Object.fromEntries(seen)
}

function changeOf(way: string, one: string): (typeof CHANGES)[number] | undefined {
  return CHANGES.find(
    (change) =>
      change.ways.some((beginning) => way.startsWith(beginning)) &&
      change.cases.some((pattern) => new RegExp(`^${pattern}`).test(one)),
  )
}

const ALL_CASES = Object.entries(cases).flatMap(([group, list]) =>
  list.map(({ name, send, methods }) => ({ name: `${group}: ${name}`, conversation: { send, methods } })),
)

describe.each(WAYS)('Through %s', (way) => {
  const port = () => ways.find(({ name }) => name === way)?.port ?? 0
  describe.concurrent('each case', { timeout: 120_000 }, () => {
    for (const { name, conversation } of ALL_CASES) {
      const change = changeOf(way, name)
      it(change === undefined ? `${name}: the same` : `${name}: ${change.why}`, async () => {
        const plain = gateway.addresses.find(({ protocol }) => protocol === 'http')?.address?.port ?? 0
        const [seen, expected] = await Promise.all([
          observation(way, port(), conversation),
          observation(way, plain, conversation),
        ])
        const { ours } = differences(seen, expected)
        if (typeof change?.seen !== 'number') return expect(ours).toEqual(matchers(change?.seen ?? {}))
        const statuses = Object.entries(seen).filter(([name]) => name.endsWith('status'))
        expect(statuses.at(-1)?.[1]).toMatch(new RegExp(`^HTTP/1.1 ${change.seen} `))
        expect(ours).not.toEqual({})
      })
    }
  })
})

it('each change is of a case', () => {
  const used = new Set(WAYS.flatMap((way) => ALL_CASES.map(({ name }) => changeOf(way, name))))
  expect(CHANGES.filter((change) => !used.has(change))).toEqual([])
})

it('nothing was malformed', () => {
  expect(logger.lines).toEqual([])
  expect(gateway.stats().malformed).toBe(0)
})
