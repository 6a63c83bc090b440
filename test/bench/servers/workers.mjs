import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { createKeyPair, serveWithWorkers } from 'mongrel2-fetch'
import { announce, options } from './child.mjs'

// A dispatcher with its workers, and perhaps a node of a cluster on this machine; their CPU is that of this process' children.

const { workers, node, ...rest } = options
const [main, other] = [createKeyPair(), createKeyPair()]
const server = serveWithWorkers({
  app: { module: new URL('worker-app.mjs', import.meta.url).href },
  workers,
  execArgv: [],
  options: rest,
  ...(node ? { cluster: { listen: 'tcp://127.0.0.1:0', keys: main, nodes: [other.publicKey] } } : {}),
})
await server.ready
if (node) {
  const script = fileURLToPath(new URL('cluster-node.mjs', import.meta.url))
  const join = { main: `tcp://${main.publicKey}@127.0.0.1:${server.clusterPort}`, keys: other }
  const child = spawn(process.execPath, [script, JSON.stringify(join)], { stdio: ['ignore', 'inherit', 'inherit'] })
  process.on('exit', () => child.kill())
  while (!server.stats().workers.some(({ node, state }) => node !== '' && state === 'ready'))
    await new Promise((resolve) => setTimeout(resolve, 20))
}
announce()
