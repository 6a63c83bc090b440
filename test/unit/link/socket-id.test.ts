import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, it } from 'vitest'
import { socketIdOf } from '../../../src/link/socket-id.ts'

let server: Server

afterEach(() => {
  server?.close()
})

async function listen(where: { path: string } | { port: number; host: string }): Promise<void> {
  server = createServer().listen(where)
  await once(server, 'listening')
}

async function close(): Promise<void> {
  server.close()
  await once(server, 'close')
}

it('names who listens at a path, and another as soon as another does', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'life-'))
  const path = join(directory, 'socket')
  const spec = `ipc://${path}`
  expect(socketIdOf(spec)).toBeUndefined()
  await listen({ path })
  const first = socketIdOf(spec)
  expect(first).toMatch(/^\d+\.\d+$/)
  expect(socketIdOf(spec)).toBe(first)
  await close()
  await listen({ path })
  expect(socketIdOf(spec)).not.toBe(first)
  await rm(directory, { recursive: true })
})

it.runIf(process.platform === 'linux')(
  'names who listens at a port of this machine, and another as soon as another does',
  async () => {
    await listen({ port: 0, host: '127.0.0.1' })
    const { port } = server.address() as AddressInfo
    const first = socketIdOf(`tcp://127.0.0.1:${port}`)
    expect(first).toMatch(/^\d+$/)
    expect(socketIdOf(`tcp://localhost:${port}`)).toBe(first)
    await close()
    expect(socketIdOf(`tcp://127.0.0.1:${port}`)).toBeUndefined()
    await listen({ port, host: '127.0.0.1' })
    expect(socketIdOf(`tcp://127.0.0.1:${port}`)).not.toBe(first)
  },
)

it.each(['tcp://192.0.2.1:9998', 'tcp://example.org:9998', 'ipc://@abstract', 'ipc:///nowhere/socket'])(
  'has no name for who cannot be seen: %s',
  (spec) => {
    expect(socketIdOf(spec)).toBeUndefined()
  },
)
