import { joinCluster } from 'mongrel2-fetch'

// A node of a cluster, for workers.mjs.

const node = joinCluster({ ...JSON.parse(process.argv[2] ?? '{}'), execArgv: [] })
process.on('SIGTERM', () => node.close({ timeout: 0 }).then(() => process.exit()))
