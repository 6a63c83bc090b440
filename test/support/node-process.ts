import { type JoinOptions, joinCluster } from '../../src/index.ts'

// A node of a cluster in a process of its own: says when it has joined, leaves at SIGTERM, and can be killed.

const options: JoinOptions = JSON.parse(process.argv[2] ?? '')
const execArgv = ['--import', new URL('./register-tsx.mjs', import.meta.url).href]
const write = (line: string) => process.stdout.write(`${line}\n`)
const node = joinCluster({ ...options, execArgv, logger: { info: write, warn: write, error: write } })
process.on('SIGTERM', () => void node.close().then(() => process.exit(0)))
await node.ready
