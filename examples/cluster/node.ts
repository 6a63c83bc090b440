// A node that joins the cluster of server.ts. The main node decides which app its workers run, and with which options.

import { joinCluster } from 'mongrel2-fetch'

const node = joinCluster({ main: process.env.CLUSTER ?? 'tcp://127.0.0.1:1717' })

// Started by server.ts, it ends when that says so, or is gone; a signal reaches server.ts, too.
if (process.send) {
  process.on('disconnect', () => void node.close())
  if (!process.connected) void node.close()
}
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    if (!process.send) void node.close()
  })
}
