import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { OptionKey, OptionSource } from '../../../../src/cli/options/command-options.ts'
import { gather, nodeSettingsOf, settingsFrom } from '../../../../src/cli/options/settings.ts'
import { createKeyPair, writeKeyPair } from '../../../../src/cluster/key-pair.ts'

let directory: string
let keyFile: string
let publicKey: string

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'cluster-settings-'))
  keyFile = join(directory, 'main.key')
  const pair = createKeyPair()
  publicKey = pair.publicKey
  writeKeyPair(keyFile, pair)
})

afterEach(() => {
  vi.unstubAllEnvs()
  rmSync(directory, { recursive: true, force: true })
})

function flags(given: Partial<Record<OptionKey, unknown>>): Map<OptionKey, OptionSource> {
  return new Map(
    (Object.entries(given) as [OptionKey, unknown][]).map(([key, value]) => [key, { value, from: `--${key}` }]),
  )
}

const APP = { app: 'app.ts', zeromq: ['tcp://10.0.0.1:1,tcp://10.0.0.1:2'] }
const LISTEN = { cluster: 'tcp://0.0.0.0:1717' }

describe('With an app', () => {
  const cluster = async (given: Partial<Record<OptionKey, unknown>>) =>
    settingsFrom(await gather('serve', flags({ ...APP, ...LISTEN, ...given }))).workers

  it('--cluster lets nodes join, by the keys of the file and of the nodes', async () => {
    const workers = await cluster({ clusterKey: keyFile, clusterNodes: [publicKey], clusterZeromq: APP.zeromq })
    expect(workers).toEqual({
      workers: 1,
      cluster: {
        listen: LISTEN.cluster,
        keys: { publicKey, secretKey: expect.any(String) },
        nodes: [publicKey],
        insecure: false,
        zeromq: APP.zeromq,
      },
    })
  })

  it('nodes have no part in a gateway, but in all else', async () => {
    for (const protocol of ['http', 'uwsgi', 'fastcgi', 'scgi'] as const) {
      const workers = await cluster({ insecure: true, [protocol]: ':1' })
      expect(workers?.cluster?.zeromq).toEqual(APP.zeromq)
    }
  })

  it('--workers auto is left to each machine', async () => {
    expect(await cluster({ clusterKey: keyFile, workers: 'auto' })).not.toHaveProperty('workers')
  })

  it.each([
    [{}, /^--cluster: expected keys, since others can connect/],
    [{ clusterKey: 'nowhere.key' }, /^--clusterKey: ENOENT/],
    [{ insecure: true, clusterNodes: ['abc'] }, /^--clusterNodes: expected a public key/],
    [{ insecure: true, direct: true }, /^--direct cannot be used with --cluster/],
    [{ insecure: true, http: ':1', zeromq: undefined }, /^expected --zeromq beside --cluster, for the nodes/],
    [{ insecure: true, zeromq: ['ipc://a,ipc://b'] }, /^--cluster: other machines cannot reach Mongrel2 at ipc:/],
    [{ cluster: '0.0.0.0:1717' }, /^--cluster: expected tcp:\/\/HOST:PORT/],
  ])('it is refused, naming the flag: %o', async (given, message) => {
    await expect(cluster(given)).rejects.toThrow(message)
  })
})

describe('Without an app', () => {
  const node = async (given: Partial<Record<OptionKey, unknown>>) => {
    const { joins, logger } = await gather('serve', flags(given))
    if (joins === undefined) throw new Error('not a node')
    return nodeSettingsOf(joins, logger).options
  }

  it('--cluster joins the main node, and nothing else is needed', async () => {
    const main = `tcp://${publicKey}@main:1717`
    const options = await node({ cluster: main, clusterKey: keyFile, chroot: directory })
    expect(options).toMatchObject({ main, keys: { publicKey }, chroot: directory })
    expect(await node({ cluster: 'tcp://127.0.0.1:1717' })).not.toHaveProperty('keys')
  })

  it('a configuration file that is shared with the main node does not make a main node of this one', async () => {
    const config = join(directory, 'config.json')
    writeFileSync(config, JSON.stringify({ ...APP, ...LISTEN, chroot: '/srv' }))
    const options = await node({ cluster: 'tcp://127.0.0.1:1717', config })
    expect(options.chroot).toBeUndefined()
    vi.stubEnv('MONGREL2_FETCH_CLUSTER', 'tcp://127.0.0.1:1718')
    expect((await node({ config })).main).toBe('tcp://127.0.0.1:1718')
    await expect(node({ config, app: 'app.ts' })).rejects.toThrow('not a node')
    vi.unstubAllEnvs()
    await expect(node({ config })).rejects.toThrow('not a node')
  })

  it.each([
    [{ cluster: 'tcp://main:1717' }, /^--cluster: expected tcp:\/\/KEY@HOST:PORT with the main node's public key/],
    [{ cluster: 'tcp://127.0.0.1:1717', workers: 2 }, /^--workers cannot be used without an app/],
  ])('it is refused, naming the flag: %o', async (given, message) => {
    await expect(node(given)).rejects.toThrow(message)
  })

  it('keys are asked for where the main node has some', async () => {
    await expect(node({ cluster: `tcp://${publicKey}@main:1717` })).rejects.toThrow("expected this node's keys")
  })
})
