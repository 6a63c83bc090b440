import { pathToFileURL } from 'node:url'
import { describe, expect, it } from 'vitest'
import { createKeyPair } from '../../../src/cluster/key-pair.ts'
import { type ClusterOptions, checkJoinOptions, checkWorkersOptions } from '../../../src/cluster/options.ts'

const keys = createKeyPair()
const { publicKey } = createKeyPair()
const APP = { module: pathToFileURL('app.js').href }
const REACHABLE = { zeromq: 'tcp://10.0.0.1:9999,tcp://10.0.0.1:9998' }
const LISTEN = 'tcp://0.0.0.0:1717'

const check = (cluster: ClusterOptions, options: { zeromq: string } = REACHABLE, app = APP) => {
  const settings = checkWorkersOptions({ app, options, cluster }).cluster
  if (settings === undefined) throw new Error('expected settings of a cluster')
  return settings
}

describe('the options of a main node', () => {
  it('are its address, its keys and those of the nodes', () => {
    const { address, security, app } = check({ listen: LISTEN, keys, nodes: [publicKey] })
    expect([address.host, address.port]).toEqual(['0.0.0.0', 1717])
    expect(security).toEqual({ keys, nodes: new Set([publicKey]) })
    expect(app).toEqual({ from: 'directory', path: 'app.js' })
  })

  it('need keys where others can connect, or insecure', () => {
    expect(() => check({ listen: LISTEN })).toThrow(/expected keys, since others can connect .* keygen/)
    expect(check({ listen: LISTEN, insecure: true }).security).toBeUndefined()
    expect(check({ listen: 'tcp://127.0.0.2:1717' }).security).toBeUndefined()
    expect(check({ listen: 'tcp://[::1]:1717' }).security).toBeUndefined()
  })

  it.each(['tcp://127.0.0.1:9998', 'tcp://localhost:9998', 'tcp://[::1]:9998', 'tcp://0.0.0.0:9998', 'ipc://run/recv'])(
    'do not hand %s to other machines, unless they say how those reach it',
    (recvSpec) => {
      const options = { zeromq: `tcp://127.0.0.1:9999,${recvSpec}` }
      expect(() => check({ listen: LISTEN, keys }, options)).toThrow(
        `other machines cannot reach Mongrel2 at ${recvSpec}`,
      )
      expect(check({ listen: LISTEN, keys, ...REACHABLE }, options).options).toEqual(REACHABLE)
      expect(check({ listen: 'tcp://127.0.0.1:1717', keys }, options).options).toEqual(options)
    },
  )

  it('do not hand a control port of this machine to others', () => {
    const options = { zeromq: `${REACHABLE.zeromq},ipc://run/control` }
    expect(() => check({ listen: LISTEN, keys }, options)).toThrow('Mongrel2 at ipc://run/control')
  })

  it.each([
    [{ listen: 'tcp://0.0.0.0' }, 'cluster.listen: expected tcp://HOST:PORT'],
    [{ listen: 'ipc://cluster' }, 'cluster.listen: expected tcp://HOST:PORT'],
    [{ listen: LISTEN, keys, nodes: ['abc'] }, 'cluster.nodes: expected a public key'],
    [
      { listen: LISTEN, keys, zeromq: [REACHABLE.zeromq, 'tcp://a:1,tcp://a:2'] },
      'no more Handlers than zeromq has, 1',
    ],
    [{ listen: LISTEN, keys, node: [] }, 'there is no option of cluster node'],
  ])('are refused: %o', (cluster, message) => {
    expect(() => check(cluster)).toThrow(message)
  })

  it('need an app that nodes find too', () => {
    const app = { module: pathToFileURL('/elsewhere/app.js').href }
    expect(() => check({ listen: LISTEN, keys }, REACHABLE, app)).toThrow('below the working directory')
  })
})

describe('the options of a node', () => {
  it('are the address of the main node, with its public key, and keys of its own', () => {
    const { address, security } = checkJoinOptions({ main: `tcp://${publicKey}@main:1717`, keys })
    expect(address.spec).toBe('tcp://main:1717')
    expect(security).toEqual({ keys, main: publicKey })
  })

  it('need the key of a main node that is elsewhere, or insecure', () => {
    expect(() => checkJoinOptions({ main: 'tcp://main:1717', keys })).toThrow("with the main node's public key")
    expect(checkJoinOptions({ main: 'tcp://main:1717', insecure: true }).security).toBeUndefined()
    expect(checkJoinOptions({ main: 'tcp://127.0.0.1:1717' }).security).toBeUndefined()
  })

  it.each([
    [{ main: `tcp://${publicKey}@main:1717` }, "keys: expected this node's keys"],
    [{ main: 'tcp://abc@main:1717', keys }, 'main: expected a public key'],
    [{ main: 'tcp://main:0', keys }, 'main: expected tcp://HOST:PORT'],
    [{ main: 'tcp://127.0.0.1:1717', address: 1 }, 'there is no option address'],
  ])('are refused: %o', (options, message) => {
    expect(() => checkJoinOptions(options)).toThrow(message)
  })
})
