import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { startMongrel2 } from '../support/mongrel2.ts'
import { cpuTimeOf } from './process-usage.ts'
import { startServer } from './server-process.ts'

const COUNT = Number(process.argv[2] ?? 5000)
async function audience(port: number) {
  const child = spawn(process.execPath, ['test/bench/servers/audience.mjs', JSON.stringify({ port })], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  const ask = async (message: object) => {
    const a = once(child, 'message')
    child.send(message)
    const [x] = await a
    if (x.failure) throw new Error(x.failure)
    return x
  }
  return {
    child,
    ask,
    next: async () => {
      const [x] = await once(child, 'message')
      if (x.failure) throw new Error(x.failure)
      return x
    },
  }
}
async function run(what: string, port: number, pid: number, gap: number, frontPid?: number) {
  const clients = await audience(port)
  console.log(what, await clients.ask({ open: COUNT }))
  await sleep(2000)
  const rounds = 10
  for (let warm = 0; warm < 2; warm++) {
    let cpu = 0,
      front = 0,
      lat = 0
    for (let n = 0; n < rounds; n++) {
      const text = `${n} `.padEnd(100, 'x')
      await clients.ask({ expect: text })
      const before = cpuTimeOf(pid),
        fb = frontPid ? cpuTimeOf(frontPid) : 0
      const t = performance.now()
      const arrived = clients.next()
      await fetch(`http://127.0.0.1:${port}/send?text=${encodeURIComponent(text)}`)
      await arrived
      lat += performance.now() - t
      await sleep(gap)
      cpu += cpuTimeOf(pid) - before
      if (frontPid) front += cpuTimeOf(frontPid) - fb
    }
    console.log(what, 'gap', gap, 'cpu us/message', cpu / rounds, 'front', front / rounds, 'latency ms', lat / rounds)
  }
  clients.child.disconnect()
  clients.child.kill()
}
{
  await using server = await startServer(process.execPath, 'ws.mjs')
  await run('ws', server.port, server.pid, 300)
}
for (const flowControl of [false, true]) {
  await using front = await startMongrel2({
    protocol: 'tnetstring',
    flowControl,
    settings: { 'disable.access_logging': 1, 'superpoll.max_fd': 30000, 'superpoll.hot_dividend': 2 },
  })
  await using server = await startServer(process.execPath, 'topic.mjs', { zeromq: front.endpoint })
  await run(`topic flowControl ${flowControl}`, front.port, server.pid, 300, front.pid)
}
process.exit(0)
