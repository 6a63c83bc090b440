import { join } from 'node:path'
import type { Mongrel2Options } from '../../src/index.ts'
import { type Mongrel2, type Mongrel2TestOptions, startMongrel2 } from '../support/mongrel2.ts'
import { createNginxDirectory } from '../support/nginx.ts'
import { BUN, DENO, installRuntime, type Runtime } from '../support/other-runtimes.ts'
import { compileCHandler, startCHandler } from './c-handler.ts'
import { type PassedBy, startNginxBefore } from './nginx.ts'
import { type Running, startAll } from './running.ts'
import { SERVED_NAMES } from './served.ts'
import { startServer } from './server-process.ts'
import type { WorkloadName } from './workloads.ts'

/** What a contender is started with. */
export interface Place {
  /** The Node that runs the servers. */
  readonly node: string
  /** What runs the servers in its place. */
  readonly command?: readonly string[]
  /** For what is compiled and written; removed at the end. */
  readonly directory: string
  /** The built checkout whose servers are started. Default: this one. */
  readonly checkout?: string
}

/** One way to answer HTTP requests. */
export interface Contender {
  readonly title: string
  readonly workloads: readonly WorkloadName[]
  /** @throws Error if it cannot be had here; the message says why. */
  prepare?(place: Place): Promise<void>
  start(place: Place): Promise<Running>
}

const SMALL = ['hello', 'echo', 'headers'] as const
const FAN_OUT = ['fanout', 'smallFanout'] as const

const QUICK = { link: 'zmtp', overrideGlobalObjects: true } as const

/** Who is compared, in the order in which they take their turns. */
export const CONTENDERS = {
  nginx: {
    title: 'nginx → @hono/node-server',
    workloads: [...SMALL, ...SERVED_NAMES, 'latency', 'download', 'upload'],
    start: (place) => behindNginx(place, 'http', 'node-server.mjs', (socket) => ({ socket })),
  },
  'node-server': {
    title: '@hono/node-server',
    workloads: [...SMALL, ...SERVED_NAMES, 'latency', 'download', 'upload'],
    start: nodeServer('node-server.mjs'),
  },
  'node-server-plain': {
    title: '@hono/node-server, plain Response',
    workloads: SMALL,
    start: nodeServer('node-server.mjs', { overrideGlobalObjects: false }),
  },
  srvx: { title: 'srvx, FastResponse', workloads: SMALL, start: nodeServer('srvx.mjs') },
  proxy: {
    title: 'Mongrel2 Proxy → @hono/node-server',
    workloads: [...SMALL, 'latency', 'download', 'upload'],
    start: behindProxy,
  },
  c: { title: 'C handler on libzmq', workloads: SMALL, prepare: prepareC, start: startC },
  zmtp: mongrel2Fetch('mongrel2-fetch', [...SMALL, ...SERVED_NAMES, 'busy', 'latency', 'idle'], QUICK),
  'zmtp-whole': mongrel2Fetch('mongrel2-fetch, bodies up to 128 KiB whole', ['json100k', 'form100k'], QUICK, {
    settings: { 'limits.content_length': 128 * 1024 },
  }),
  metrics: mongrel2Fetch('mongrel2-fetch, metrics', ['hello'], { ...QUICK, metrics: true }),
  'access-log': mongrel2Fetch('mongrel2-fetch, request log', ['hello'], { ...QUICK, accessLog: 'access.log' }),
  'zmtp-plain': mongrel2Fetch('mongrel2-fetch, plain Response', [...SMALL, 'latency'], { link: 'zmtp' }),
  zeromq: mongrel2Fetch('mongrel2-fetch on zeromq.js', SMALL, { link: 'zeromq', overrideGlobalObjects: true }),
  'zeromq-plain': mongrel2Fetch('mongrel2-fetch on zeromq.js, plain Response', SMALL, {
    link: 'zeromq',
  }),
  credits: mongrel2Fetch('mongrel2-fetch, flow control', ['download'], {}, { flowControl: true }),
  'control-port': mongrel2Fetch('mongrel2-fetch, control port', ['download'], {}, {}, true),
  'upload-file': mongrel2Fetch('mongrel2-fetch, stored in a file', ['upload'], {}, { uploads: 'file' }),
  bun: onRuntime(BUN, { title: 'Bun.serve', workloads: SMALL, start: nodeServer('bun.mjs') }),
  deno: onRuntime(DENO, { title: 'Deno.serve', workloads: SMALL, start: nodeServer('deno.mjs') }),
  'zmtp-bun': onRuntime(BUN, mongrel2Fetch('mongrel2-fetch on Bun', SMALL, QUICK)),
  'zmtp-deno': onRuntime(DENO, mongrel2Fetch('mongrel2-fetch on Deno', SMALL, QUICK)),
  ws: { title: 'ws', workloads: FAN_OUT, start: nodeServer('ws.mjs') },
  topic: topic('mongrel2-fetch, a Topic'),
  'topic-credits': topic('mongrel2-fetch, a Topic, flow control', { flowControl: true }),
  'upload-stream': mongrel2Fetch('mongrel2-fetch, upload.stream', ['upload'], {}, { uploads: 'stream' }),
  'upload-stream-wide': mongrel2Fetch(
    'mongrel2-fetch, upload.stream in parts of 128 KiB',
    ['upload'],
    { uploadWindow: 2 * 1024 * 1024 },
    { uploads: 'stream', settings: { 'limits.content_length': 128 * 1024 } },
  ),
  uwsgi: gateway('uwsgi'),
  fastcgi: gateway('fastcgi'),
  http: gateway('http'),
  'uwsgi-constant': constant('uwsgi'),
  'fastcgi-constant': constant('fastcgi'),
  'workers-1': workers('mongrel2-fetch, dispatcher and 1 worker', { workers: 1 }),
  'workers-1-metrics': workers('mongrel2-fetch, 1 worker, metrics', { workers: 1, metrics: true }),
  'workers-1-access-log': workers('mongrel2-fetch, 1 worker, request log', { workers: 1, accessLog: 'access.log' }),
  'workers-2': workers('mongrel2-fetch, dispatcher and 2 workers', { workers: 2 }),
  'workers-node': workers('mongrel2-fetch, dispatcher, 1 worker and 1 on a node', { workers: 1, node: true }),
} satisfies Record<string, Contender>

export type ContenderName = keyof typeof CONTENDERS

/** Requests are not logged, as by nginx. */
function startFront({ settings, ...options }: Mongrel2TestOptions = {}): Promise<Mongrel2> {
  return startMongrel2({ ...options, settings: { 'disable.access_logging': 1, ...settings } })
}

/** With more connections than `superpoll.max_fd / superpoll.hot_dividend` every reply waits for up to half a second. */
const MANY_CONNECTIONS = { 'superpoll.max_fd': 20_000, 'superpoll.hot_dividend': 2 }

/** The contender on another runtime than Node. */
function onRuntime(runtime: Runtime, contender: Contender): Contender {
  let command: readonly string[] = []
  return {
    ...contender,
    async prepare({ directory }) {
      command = await installRuntime(directory, runtime)
    },
    start: (place) => contender.start({ ...place, command }),
  }
}

function nodeServer(script: string, options = {}) {
  return (place: Place): Promise<Running> =>
    startAll(async (use) => {
      const handler = await use(startServer(place, script, options))
      return { origin: `http://127.0.0.1:${handler.port}`, handler }
    })
}

/** @param options Those of the server that listens at a socket. */
function behindNginx(
  place: Place,
  protocol: PassedBy,
  script: string,
  options: (socket: string) => object,
): Promise<Running> {
  return startAll(async (use) => {
    const directory = await createNginxDirectory()
    const handler = await use(startServer(place, script, options(join(directory, 'server.sock'))))
    const front = await use(startNginxBefore(directory, protocol))
    return { origin: front.origin, handler, front }
  })
}

/** This package's command behind nginx, in one process, without Mongrel2. */
function gateway(protocol: PassedBy): Contender {
  return {
    title: `mongrel2-fetch by ${protocol}, behind nginx`,
    workloads: SMALL,
    start: (place) => behindNginx(place, protocol, 'command.mjs', (at) => ({ flags: [`--${protocol}`, at] })),
  }
}

/** The least that a server on Node's sockets does. */
function constant(protocol: PassedBy): Contender {
  return {
    title: `the same bytes by ${protocol}, behind nginx`,
    workloads: ['hello'],
    start: (place) => behindNginx(place, protocol, 'constant.mjs', (socket) => ({ protocol, socket })),
  }
}

function behindProxy(place: Place): Promise<Running> {
  return startAll(async (use) => {
    const handler = await use(startServer(place, 'node-server.mjs'))
    const routes = { '/': { proxyPort: handler.port } }
    const front = await use(startFront({ routes }))
    return { origin: `http://127.0.0.1:${front.port}`, handler, front }
  })
}

async function prepareC({ directory }: Place): Promise<void> {
  await compileCHandler(directory).catch((error: unknown) => {
    throw new Error('it needs a C compiler and the headers of libzmq (apt-get install gcc libc6-dev libzmq3-dev)', {
      cause: error,
    })
  })
}

function startC({ directory }: Place): Promise<Running> {
  return startAll(async (use) => {
    const front = await use(startFront())
    const handler = await use(startCHandler(directory, front.endpoint))
    return { origin: `http://127.0.0.1:${front.port}`, handler, front }
  })
}

interface WorkersRun extends Observation {
  readonly workers: number
  /** Whether there is a node that runs as many. */
  readonly node?: boolean
}

/** What is observed of requests. */
interface Observation {
  readonly metrics?: boolean
  /** A file in the place of the run. */
  readonly accessLog?: string
}

function observed<T extends Observation>({ accessLog, ...options }: T, { directory }: Place) {
  return { ...options, ...(accessLog !== undefined && { accessLog: join(directory, accessLog) }) }
}

function workers(title: string, options: WorkersRun): Contender {
  return {
    title,
    workloads: ['hello', 'busy'],
    start: (place) =>
      startAll(async (use) => {
        const front = await use(startFront({ protocol: 'tnetstring' }))
        const { endpoint: zeromq, directory: chroot } = front
        const all = { zeromq, chroot, overrideGlobalObjects: true, ...observed(options, place) }
        const handler = await use(startServer(place, 'workers.mjs', all))
        return { origin: `http://127.0.0.1:${front.port}`, handler, front }
      }),
  }
}

function topic(title: string, mongrel2: Mongrel2TestOptions = {}): Contender {
  return {
    title,
    workloads: FAN_OUT,
    start: (place) =>
      startAll(async (use) => {
        const front = await use(startFront({ protocol: 'tnetstring', settings: MANY_CONNECTIONS, ...mongrel2 }))
        const handler = await use(startServer(place, 'topic.mjs', { zeromq: front.endpoint }))
        return { origin: `http://127.0.0.1:${front.port}`, handler, front }
      }),
  }
}

/**
 * @param options Those of `serveMongrel2`.
 * @param mongrel2 How Mongrel2 is configured.
 * @param controlled Whether Mongrel2's control port is used.
 */
function mongrel2Fetch(
  title: string,
  workloads: readonly WorkloadName[],
  options: Partial<Mongrel2Options>,
  mongrel2: Mongrel2TestOptions = {},
  controlled = false,
): Contender {
  return {
    title,
    workloads,
    start: (place) =>
      startAll(async (use) => {
        const front = await use(startFront({ protocol: 'tnetstring', ...mongrel2 }))
        const zeromq = controlled ? `${front.endpoint},${front.controlPort}` : front.endpoint
        const chroot = front.directory
        const all = { zeromq, chroot, ...observed(options, place) }
        const handler = await use(startServer(place, 'mongrel2-fetch.mjs', all))
        return { origin: `http://127.0.0.1:${front.port}`, handler, front }
      }),
  }
}
