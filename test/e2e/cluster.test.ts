import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createConnection, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Dealer } from 'zeromq'
import { type Control, NodeConnection } from '../../src/cluster/node-connection.ts'
import type { WorkersOptions } from '../../src/cluster/options.ts'
import { STREAM_OPTIONS } from '../../src/cluster/secure-stream.ts'
import type { WorkersServer } from '../../src/cluster/serve-with-workers.ts'
import { createKeyPair, type JoinOptions } from '../../src/index.ts'
import { ownVersion } from '../../src/runtime/process/versions.ts'
import { renderGreeting } from '../../src/wire/zmtp/greeting.ts'
import { Cable } from '../support/cable.ts'
import { ClusterNode } from '../support/cluster-node.ts'
import { lacks } from '../support/embedded.ts'
import { CollectingLogger } from '../support/logger.ts'
import { type Mongrel2, type Mongrel2TestOptions, startMongrel2 } from '../support/mongrel2.ts'
import { BrokenResponseError, get, RawClient, type RawResponse, request } from '../support/raw-client.ts'
import { serveWithWorkers } from '../support/serve-with-workers.ts'

const MAIN = createKeyPair()
const NODE = createKeyPair()

let mongrel2: Mongrel2
let server: WorkersServer
let logger: CollectingLogger
let clients: RawClient[]
let nodes: ClusterNode[]

beforeEach(() => {
  logger = new CollectingLogger()
  clients = []
  nodes = []
})

afterEach(async () => {
  for (const client of clients) client.destroy()
  await server.close({ timeout: 1000 })
  for (const node of nodes) await node[Symbol.asyncDispose]()
  await mongrel2.stop()
})

async function start(options: Partial<WorkersOptions> = {}, settings: Mongrel2TestOptions = {}): Promise<void> {
  mongrel2 = await startMongrel2(settings)
  startMain(options)
  await server.ready
}

function startMain({ options: more, ...rest }: Partial<WorkersOptions> = {}): void {
  server = serveWithWorkers({
    workers: 1,
    cluster: { listen: 'tcp://127.0.0.1:0', keys: MAIN, nodes: [NODE.publicKey] },
    ...rest,
    options: { chroot: mongrel2.directory, logger, ...more, zeromq: mongrel2.endpoint },
  })
}

/** Starts a node and resolves when its workers are ready. */
async function join(options: Partial<JoinOptions> = {}): Promise<ClusterNode> {
  const main = `tcp://${MAIN.publicKey}@127.0.0.1:${server.clusterPort}`
  const node = new ClusterNode({ main, keys: NODE, ...options })
  nodes.push(node)
  await nodeWorkersReady(1)
  return node
}

async function nodeWorkersReady(count: number): Promise<void> {
  const ready = () => nodeWorkers().filter(({ state }) => state === 'ready').length
  await expect.poll(ready).toBe(count)
}

function nodeWorkers(): ReturnType<WorkersServer['stats']>['workers'] {
  return server.stats().workers.filter(({ node }) => node !== '')
}

function connect(): RawClient {
  const client = new RawClient(mongrel2.port)
  clients.push(client)
  return client
}

/** The process of the node that has a request in its hands. */
async function busyOnNode(): Promise<number> {
  const pid = () => nodeWorkers().find(({ inFlight }) => inFlight > 0)?.pid
  await expect.poll(pid).toBeDefined()
  return Number(pid())
}

/** Opens a connection that the node's worker has. On the embedded front its next request may go to another worker. */
async function connectToNode(): Promise<RawClient> {
  for (;;) {
    const client = connect()
    const pid = Number.parseInt(await get(client, '/worker'), 10)
    if (nodeWorkers().some((worker) => worker.pid === pid)) return client
  }
}

describe('a node', () => {
  it('joins by address and keys, and its workers serve with the others', async () => {
    await start({ threads: 2 })
    await join()
    const names = await Promise.all(Array.from({ length: 8 }, () => get(connect(), '/sleep?ms=300')))
    const pids = names.map((name) => Number.parseInt(name, 10))
    const [local, remote] = server.stats().workers
    for (const worker of [local, remote]) expect(pids.filter((pid) => pid === worker?.pid)).toHaveLength(4)
    expect(logger.errors).toEqual([])
  })

  it('streams, and brings pipelined answers in order', async () => {
    await start()
    await join()
    const client = await connectToNode()
    const body = Buffer.from(await get(client, '/bytes?size=3000000'), 'latin1')
    expect(body.length).toBe(3_000_000)
    client.send(['/sleep?ms=100', '/one', '/two'].map((target) => request(target)).join(''))
    const bodies = [await client.response(), await client.response(), await client.response()]
    expect(bodies.slice(1).map(({ body }) => body.toString())).toEqual(['/one', '/two'])
  })

  it.skipIf(lacks('kept connections'))(
    'that is killed leaves a 502 to who waits, a closed connection to the rest, and comes back when started',
    async () => {
      await start()
      const node = await join()
      const [waiting, streaming, idle] = [await connectToNode(), await connectToNode(), await connectToNode()]
      waiting.send(request('/never'))
      streaming.send(request('/stream?count=1000&ms=20'))
      await expect.poll(() => streaming.bytesRead).toBeGreaterThan(200)
      const pid = await busyOnNode()
      await node.kill()
      expect((await waiting.response()).statusLine).toBe('HTTP/1.1 502 Bad Gateway')
      await Promise.all([waiting.closed, idle.closed])
      const broken = await streaming.response().catch((error: unknown) => error)
      expect(broken).toBeInstanceOf(BrokenResponseError)
      if (broken instanceof BrokenResponseError) expect(broken.body.toString()).toMatch(/^(\d+ \d+\n)+$/)
      expect(await get(connect(), '/')).toBe('/')
      await expect.poll(() => isAlive(pid)).toBe(false)
      expect(logger.errors[0]).toMatch(/^mongrel2-fetch lost node 127\.0\.0\.1:\d+: the connection ended$/)
      await join()
    },
  )

  it.skipIf(lacks('kept connections'))(
    'that stands still is given up within two seconds, and ends what it had when it goes on',
    async () => {
      await start()
      const node = await join()
      const client = await connectToNode()
      client.send(request('/sleep?ms=1900'))
      const pid = await busyOnNode()
      node.signal('SIGSTOP')
      expect((await client.response()).status).toBe(502)
      await client.closed
      expect(logger.errors[0]).toMatch(/it gave no sign of life within 2000 ms$/)
      node.signal('SIGCONT')
      await nodeWorkersReady(1)
      expect(nodeWorkers()[0]?.pid).not.toBe(pid)
      expect(isAlive(pid)).toBe(false)
    },
  )

  it.skipIf(lacks('kept connections'))(
    'whose line is cut is given up, its answers reach nobody, and it joins again when the line is mended',
    async () => {
      await start()
      await using cable = await Cable.open(server.clusterPort ?? 0)
      const node = await join({ main: `tcp://${MAIN.publicKey}@127.0.0.1:${cable.port}` })
      const [waiting, streaming] = [await connectToNode(), await connectToNode()]
      const pid = nodeWorkers()[0]?.pid ?? 0
      streaming.send(request('/stream?count=1000&ms=20'))
      await expect.poll(() => streaming.bytesRead).toBeGreaterThan(200)
      waiting.send(request('/sleep?ms=1500'))
      await busyOnNode()
      // Mongrel2 can still be reached: the worker could answer, but nobody knows of it any more.
      cable.cut()
      expect((await waiting.response()).status).toBe(502)
      await waiting.closed
      const broken = await streaming.response().catch((error: unknown) => error)
      expect(broken).toBeInstanceOf(BrokenResponseError)
      if (broken instanceof BrokenResponseError) expect(broken.body.toString()).toMatch(/^(\d+ \d+\n)+$/)
      await expect.poll(() => node.output).toMatch(/lost the main node at \S+ it gave no sign of life/)
      await expect.poll(() => isAlive(pid)).toBe(false)
      expect(nodeWorkers()).toEqual([])
      cable.mend()
      await nodeWorkersReady(1)
      await get(await connectToNode(), '/')
    },
  )

  it('whose line to Mongrel2 alone is cut gets nothing that it could not answer', async () => {
    await start()
    const cut = `tcp://127.0.0.1:1`
    await server.close()
    const [send = ''] = mongrel2.endpoint.split(',')
    const cluster = { listen: 'tcp://127.0.0.1:0', keys: MAIN, nodes: [NODE.publicKey], zeromq: `${send},${cut}` }
    startMain({ cluster, workerTimeout: 1000 })
    await server.ready
    nodes.push(new ClusterNode({ main: `tcp://${MAIN.publicKey}@127.0.0.1:${server.clusterPort}`, keys: NODE }))
    await expect.poll(() => logger.errors.join()).toMatch(/it did not reach Mongrel2 within/)
    for (let round = 0; round < 10; round++) expect(await get(connect(), '/')).toBe('/')
  })

  it('joins again when the main node is killed and started anew, and its clients do not wait', async () => {
    await start()
    const port = server.clusterPort
    const node = await join()
    const client = await connectToNode()
    await server.close()
    startMain({ cluster: { listen: `tcp://127.0.0.1:${port}`, keys: MAIN, nodes: [NODE.publicKey] } })
    await nodeWorkersReady(1)
    expect(await get(client, '/')).toBe('/')
    expect(node.output).toMatch(/lost the main node/)
  })

  it.skipIf(lacks('kept connections'))(
    'closes what it has open when the main node is killed, and joins the next',
    async () => {
      await start()
      await server.close()
      const cluster = { listen: `tcp://127.0.0.1:${server.clusterPort}`, keys: MAIN, nodes: [NODE.publicKey] }
      const entry = fileURLToPath(new URL('../support/dispatcher-process.ts', import.meta.url))
      const hook = new URL('../support/register-tsx.mjs', import.meta.url).href
      const args = ['--import', hook, entry, mongrel2.endpoint, mongrel2.directory, '1', JSON.stringify(cluster)]
      const main = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
      try {
        const [line] = (await once(main.stdout, 'data')) as [Buffer]
        const local = Number(line.toString())
        const node = new ClusterNode({ main: `tcp://${MAIN.publicKey}@127.0.0.1:${server.clusterPort}`, keys: NODE })
        nodes.push(node)
        let client = connect()
        const served = async () => {
          client = connect()
          return Number.parseInt(await get(client, '/worker'), 10)
        }
        await expect.poll(served).not.toBe(local)
        const streaming = client.send(request('/stream?count=1000&ms=20'))
        await expect.poll(() => streaming.bytesRead).toBeGreaterThan(400)
        await expect.poll(served).not.toBe(local)
        const waiting = client.send(request('/sleep?ms=300'))
        await sleep(100)
        main.kill('SIGKILL')
        await Promise.all([waiting.closed, streaming.closed])
        expect(await waiting.readToEnd()).toHaveLength(0)
        startMain({ cluster })
        await nodeWorkersReady(1)
        await get(await connectToNode(), '/')
      } finally {
        main.kill('SIGKILL')
      }
    },
  )

  it('leaves at SIGTERM without a request that fails', async () => {
    await start()
    const node = await join()
    const client = await connectToNode()
    const answer = client.send(request('/stream?count=20&ms=50')).response()
    await busyOrStreaming(client)
    await node.kill('SIGTERM')
    expect((await answer).body.toString().trim().split('\n')).toHaveLength(20)
    expect(await get(client, '/')).toBe('/')
    expect(server.stats().workers.map((worker) => worker.node)).toEqual([''])
    expect(logger.errors).toEqual([])
  })

  it.skipIf(lacks('kept connections'))('gets another worker when one ends, and is reloaded with the rest', async () => {
    await start()
    await join()
    const pid = nodeWorkers()[0]?.pid ?? 0
    const client = await connectToNode()
    client.send(request('/never'))
    await busyOnNode()
    process.kill(pid, 'SIGKILL')
    expect((await client.response()).status).toBe(502)
    await nodeWorkersReady(1)
    const before = server.stats().workers.map((worker) => worker.pid)
    await server.reload()
    expect(
      server
        .stats()
        .workers.map((worker) => worker.pid)
        .filter((each) => before.includes(each)),
    ).toEqual([])
    expect(nodeWorkers()).toHaveLength(1)
    const node = nodeWorkers()[0]?.node
    expect(server.stats().places.filter(({ restarts }) => restarts > 0)).toEqual([
      { node: '', place: 1, restarts: 1 },
      { node, place: 1, restarts: 2 },
    ])
  })

  it.skipIf(lacks('stored uploads'))(
    'gets no uploads that Mongrel2 has stored in files, unless it sees them',
    async () => {
      await start()
      const node = await join()
      const local = server.stats().workers[0]?.pid
      const body = Buffer.alloc(100_000, 'stored ')
      const upload = request('/worker', 'POST', `Content-Length: ${body.length}\r\n`)
      const others = Array.from({ length: 4 }, connect)
      for (const client of [await connectToNode(), await connectToNode(), ...others]) {
        expect(pidIn(await client.send(upload).send(body).response())).toBe(local)
      }
      const pipelining = await connectToNode()
      pipelining.send(request('/sleep?ms=300') + upload).send(body)
      expect(pidIn(await pipelining.response())).not.toBe(local)
      expect(pidIn(await pipelining.response())).toBe(local)
      await node.kill('SIGTERM')
      await join({ chroot: mongrel2.directory })
      const seeing = await connectToNode()
      expect(pidIn(await seeing.send(upload).send(body).response())).toBe(nodeWorkers()[0]?.pid)
      const echo = request('/echo', 'POST', `Content-Length: ${body.length}\r\n`)
      expect((await seeing.send(echo).send(body).response()).body.equals(body)).toBe(true)
    },
  )
})

function pidIn({ body }: RawResponse): number {
  return Number.parseInt(body.toString(), 10)
}

async function busyOrStreaming(client: RawClient): Promise<void> {
  const before = client.bytesRead
  await expect.poll(() => client.bytesRead).toBeGreaterThan(before)
}

describe('at the port of the cluster', () => {
  const refusals = () => logger.warnings.filter((line) => line.includes("at the cluster's port"))

  it('who has a key that is not allowed, the wrong key of the main node, or none, is refused and told so', async () => {
    await start()
    const address = `127.0.0.1:${server.clusterPort}`
    const stranger = createKeyPair()
    const main = `tcp://${MAIN.publicKey}@${address}`
    const attempts = [
      { main, keys: stranger },
      { main: `tcp://${stranger.publicKey}@${address}`, keys: NODE },
      { main: `tcp://${address}` },
    ]
    for (const options of attempts) {
      logger.lines.length = 0
      const node = new ClusterNode(options)
      nodes.push(node)
      await expect.poll(refusals).not.toEqual([])
      await expect.poll(() => node.output).toMatch(/cannot join the main node/)
      await node.kill()
    }
    expect(nodeWorkers()).toEqual([])
    await join()
  })

  it('junk is refused, said once a second, and disturbs nobody', async () => {
    await start()
    await join()
    const kept = await connectToNode()
    const port = server.clusterPort ?? 0
    const sockets: Socket[] = []
    const junk = [
      Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'),
      Buffer.alloc(5000),
      Buffer.alloc(0),
      randomBytes(70),
    ]
    const since = performance.now()
    for (let round = 0; round < 200; round++) {
      const socket = createConnection(port, '127.0.0.1')
        .on('error', () => {})
        .resume()
      socket.write(junk[round % junk.length] ?? '')
      sockets.push(socket)
      if (round % 50 === 0) expect(await get(kept, '/')).toBe('/')
    }
    // Who says nothing is let go, too.
    for (const socket of sockets) if (!socket.destroyed) await once(socket, 'close')
    const seconds = (performance.now() - since) / 1000
    expect(refusals().length).toBeGreaterThan(0)
    expect(refusals().length).toBeLessThanOrEqual(Math.ceil(seconds) + 1)
    expect(await get(kept, '/')).toBe('/')
    expect(nodeWorkers()).toHaveLength(1)
    expect(logger.errors).toEqual([])
  })

  it('who greets rightly and goes on with junk is refused', async () => {
    await start()
    const socket = createConnection(server.clusterPort ?? 0, '127.0.0.1').on('error', () => {})
    socket.write(
      Buffer.concat([renderGreeting('CURVE'), Buffer.from([6, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff])]),
    )
    await once(socket.resume(), 'close')
    await expect.poll(refusals).not.toEqual([])
    await join()
  })
})

it('refuses a port that is taken', async () => {
  await start()
  const listen = `tcp://127.0.0.1:${server.clusterPort}`
  const second = serveWithWorkers({
    workers: 1,
    cluster: { listen },
    options: { logger, chroot: mongrel2.directory, zeromq: mongrel2.endpoint },
  })
  await expect(second.ready).rejects.toThrow('EADDRINUSE')
  await second.close()
  expect(logger.errors).toEqual([
    expect.stringMatching(/^mongrel2-fetch cannot listen for nodes at tcp:\S+: .*EADDRINUSE/),
  ])
})

describe('a node that has proved who it is', () => {
  /** What the main node says to one that says what it likes, and why it was let go. */
  async function meet(act: (connection: NodeConnection) => void): Promise<{ heard: Control[]; reason: string }> {
    await start({ cluster: { listen: 'tcp://127.0.0.1:0' } })
    const heard: Control[] = []
    const socket = new Dealer(STREAM_OPTIONS)
    const connection = new NodeConnection(
      socket,
      'the main node',
      {},
      {
        receiveControl: (control) => heard.push(control),
        receive: () => {},
      },
    )
    socket.connect(`tcp://127.0.0.1:${server.clusterPort}`)
    await connection.opened
    act(connection)
    return { heard, reason: await connection.closed }
  }

  it('is refused, and told why, when it runs another version', async () => {
    const { heard } = await meet((connection) =>
      connection.sendControl({ kind: 'join', version: '0.0.1', processors: 1, seesUploads: false }),
    )
    expect(heard).toEqual([
      { kind: 'refuse', reason: expect.stringMatching(/^it runs mongrel2-fetch 0\.0\.1, and the main/) },
    ])
    expect(nodeWorkers()).toEqual([])
  })

  it.each([
    ['a control message', 0],
    ["a worker's", 1],
  ])('is given up when it speaks nonsense, as %s', async (_, worker) => {
    const { reason } = await meet((connection) => {
      connection.sendControl({ kind: 'join', version: ownVersion(), processors: 1, seesUploads: false })
      setTimeout(() => connection.send(worker, [Buffer.from('nonsense')]), 100)
    })
    expect(reason).toBe('the connection ended')
    expect(logger.errors[0]).toMatch(/^mongrel2-fetch lost node \S+: it sent something wrong: expected a frame of JSON/)
    expect(await get(connect(), '/')).toBe('/')
  })

  it('is given up when it begins a frame that is larger than what is said', async () => {
    const { reason } = await meet((connection) => {
      connection.sendControl({ kind: 'join', version: ownVersion(), processors: 1, seesUploads: false })
      connection.send(0, [Buffer.alloc(2 * 1024 * 1024)])
    })
    expect(reason).toBe('the connection ended')
    expect(logger.errors[0]).toMatch(
      /^mongrel2-fetch lost node \S+: it sent something wrong: a frame of 2097152 bytes is larger than the 1048576 /,
    )
  })

  it.each([
    [
      'more processors than there are',
      { processors: 2e6 },
      'join.processors: expected an integer from 1 to 1024, got 2000000',
    ],
    ['no processors', { processors: 0 }, 'join.processors: expected an integer from 1 to 1024'],
    ['half a processor', { processors: 1.5 }, 'join.processors: expected an integer from 1 to 1024'],
    ['a text for its processors', { processors: '4' }, 'join.processors: expected an integer from 1 to 1024'],
    ['neither true nor false', { seesUploads: 'yes' }, 'join.seesUploads: expected true or false'],
    ['no version', { version: undefined }, 'join.version: expected a text'],
    ['something else', { kind: 'jion' }, 'kind: expected one of join,'],
  ])('is let go when it joins with %s', async (_what, wrong, expected) => {
    const join = { kind: 'join', version: ownVersion(), processors: 1, seesUploads: false, ...wrong }
    await meet((connection) => connection.sendControl(join as Control))
    await expect.poll(() => logger.warnings.join()).toContain(`did not join: it sent something wrong: ${expected}`)
    expect(nodeWorkers()).toEqual([])
    expect(await get(connect(), '/')).toBe('/')
  })

  it('is let go when it sends a message of ZeroMQ that does not end', async () => {
    await start({ cluster: { listen: 'tcp://127.0.0.1:0' } })
    const socket = new Dealer(STREAM_OPTIONS)
    socket.connect(`tcp://127.0.0.1:${server.clusterPort}`)
    const part = Buffer.alloc(1000)
    const sent = socket.send(Array.from({ length: 10_000 }, () => part)).catch(() => {})
    await expect.poll(() => logger.warnings.join()).toContain('it sends a message that does not end')
    socket.close()
    await sent
    expect(await get(connect(), '/')).toBe('/')
  })

  it('is let go when it does not join', async () => {
    await meet(() => {})
    expect(nodeWorkers()).toEqual([])
    expect(logger.errors).toEqual([])
  })
})

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}
