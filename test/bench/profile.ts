// npm run bench:profile -- [--only NAME]... [--workload NAME]... [--node VERSION] [--functions N] [--markdown]
//
// Shows where the CPU time of a request goes in the handler's process, with workers in the dispatcher: by directory of src/, by package and
// by what Node does itself. The times are those under a profiler, which takes some itself; `npm run bench` has those without.
//
//   --only NAME      this contender of `npm run bench`, and others that are named so. Default: zmtp
//   --workload NAME  this workload, and others that are named so. Default: hello
//   --node VERSION   the server runs on this version of Node
//   --functions N    shows the N functions that take most, too
//   --markdown       prints Markdown

import { mkdir, readdir, readFile } from 'node:fs/promises'
import { SourceMap, type SourceMapPayload } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { CONTENDERS, type Contender, type ContenderName } from './contenders.ts'
import { chosen, createDirectory, keepMemory, programOf } from './preparation.ts'
import { type Rows, renderMarkdown, renderText } from './table.ts'
import { WORKLOADS, type Workload, type WorkloadName } from './workloads.ts'

/** What `node --cpu-prof` writes. Times are in microseconds. */
interface CpuProfile {
  readonly nodes: readonly { readonly id: number; readonly callFrame: CallFrame }[]
  /** By the clock of `process.hrtime`. */
  readonly startTime: number
  readonly samples: readonly number[]
  /** From the sample before. */
  readonly timeDeltas: readonly number[]
}

interface CallFrame {
  readonly functionName: string
  readonly url: string
  readonly lineNumber: number
  readonly columnNumber: number
}

const WARM_UP = 2
const EFFORT = { warmUp: WARM_UP, seconds: 4, rounds: 1, rate: 0 }
const SOURCES = /\/((?:src|adapters)\/[^/]+)\//
const PACKAGE = /\/node_modules\/((?:@[^/]+\/)?[^/]+)\//
const SOCKETS = /^node:(?:net|internal\/(?:streams|stream_base_commons|js_stream_socket))/

const maps = new Map<string, Promise<SourceMap | undefined>>()

const { values: flags } = parseArgs({
  options: {
    only: { type: 'string', multiple: true, default: ['zmtp'] },
    workload: { type: 'string', multiple: true, default: ['hello'] },
    node: { type: 'string' },
    functions: { type: 'string', default: '0' },
    markdown: { type: 'boolean', default: false },
  },
})
const node = programOf(flags.node)
const [names, workloads] = [chosen('contender', CONTENDERS, flags.only), chosen('workload', WORKLOADS, flags.workload)]
const render = flags.markdown ? renderMarkdown : renderText
keepMemory()
const directory = await createDirectory()
for (const name of names) for (const workload of workloads) await show(name, workload)

async function show(name: ContenderName, workload: WorkloadName): Promise<void> {
  const contender: Contender = CONTENDERS[name]
  const asked: Workload = WORKLOADS[workload]
  const profiles = join(directory, `${name}-${workload}`)
  await mkdir(profiles)
  const place = { node, directory, command: [node, '--expose-gc', '--cpu-prof', '--cpu-prof-dir', profiles] }
  await contender.prepare?.(place)
  let begun: number
  let cpu: number
  let ended: number
  {
    await using running = await contender.start(place)
    await asked.check(running)
    begun = microseconds() + WARM_UP * 1e6
    const measures = await asked.measure(running, EFFORT, place)
    ended = microseconds()
    cpu = measures.dispatcherCpu ?? measures.cpu ?? 0
  }
  const [file = ''] = await readdir(profiles)
  const profile: CpuProfile = JSON.parse(await readFile(join(profiles, file), 'utf8'))
  const places = await sharesOf(profile, begun, ended, async (frame) => groupOf(frame, await sourceOf(frame)))
  console.log(`\n${contender.title}, ${asked.title}, µs of CPU a request\n\n${render(rows(places, cpu))}`)
  const most = Number(flags.functions)
  if (most === 0) return
  const functions = await sharesOf(profile, begun, ended, async (frame) => {
    return `${frame.functionName || '(anonymous)'} ${await sourceOf(frame)}`
  })
  console.log(`\n${render(rows(functions.slice(0, most), cpu))}`)
}

/** By the clock of profiles. */
function microseconds(): number {
  return Number(process.hrtime.bigint() / 1000n)
}

function rows(shares: readonly (readonly [string, number])[], cpu: number): Rows {
  const cells = shares.map(([name, share]) => [name, (share * cpu).toFixed(2), `${(share * 100).toFixed(1)} %`])
  return [['where', 'µs', 'share'], ...cells, ['all', cpu.toFixed(2), '100 %']]
}

/** The shares of the time that was no idle time, the largest first. */
async function sharesOf(
  { nodes, samples, timeDeltas, startTime }: CpuProfile,
  begun: number,
  ended: number,
  nameOf: (frame: CallFrame) => Promise<string>,
): Promise<[string, number][]> {
  const names = new Map<number, string>()
  for (const { id, callFrame } of nodes) names.set(id, await nameOf(callFrame))
  const idle = new Set(nodes.filter(({ callFrame }) => callFrame.functionName === '(idle)').map(({ id }) => id))
  const times = new Map<string, number>()
  let now = startTime
  let all = 0
  for (const [at, id] of samples.entries()) {
    const time = timeDeltas[at] ?? 0
    now += time
    if (now < begun || now > ended || idle.has(id)) continue
    const name = names.get(id) ?? ''
    times.set(name, (times.get(name) ?? 0) + time)
    all += time
  }
  return [...times].map(([name, time]): [string, number] => [name, time / all]).sort(([, a], [, b]) => b - a)
}

function groupOf({ functionName, url }: CallFrame, source: string): string {
  if (functionName === '(garbage collector)') return 'garbage collection'
  // Without a function of JavaScript on the stack: libuv, its reads, and V8's own work.
  if (functionName === '(program)') return 'libuv and V8'
  if (url === '') return functionName.startsWith('write') ? 'writes' : 'functions of Node and V8 in C++'
  if (SOCKETS.test(url)) return "Node's sockets and streams"
  if (url.startsWith('node:')) return 'the rest of Node'
  return PACKAGE.exec(source)?.[1] ?? SOURCES.exec(source)?.[1] ?? 'the app'
}

/** Where a function is written: the path of its source and the line. */
async function sourceOf({ url, lineNumber, columnNumber }: CallFrame): Promise<string> {
  if (!url.startsWith('file:')) return url
  const path = fileURLToPath(url)
  if (!maps.has(path)) maps.set(path, readMap(path))
  const entry = (await maps.get(path))?.findEntry(lineNumber, columnNumber)
  if (entry === undefined || !('originalSource' in entry)) return `${path}:${lineNumber + 1}`
  return `${join(path, '..', entry.originalSource)}:${entry.originalLine + 1}`
}

async function readMap(path: string): Promise<SourceMap | undefined> {
  const text = await readFile(`${path}.map`, 'utf8').catch(() => undefined)
  return text === undefined ? undefined : new SourceMap(JSON.parse(text) as SourceMapPayload)
}
