// npm run bench:load [-- --node VERSION]... [--rounds N] [--against DIR]
//
// Measures how long it takes to load this package, to serve with it and to reload, case by case and round by round, beside
// @hono/node-server and Node itself.
//
//   --node VERSION   on this version of Node; several, when given several times. Default: the one that runs this
//   --rounds N       instead of 21
//   --against DIR    measures another built checkout, too

import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { showProgress } from '../../examples/progress.mjs'
import { CommandRun, Workplace } from '../support/command.ts'
import { type Mongrel2, startMongrel2 } from '../support/mongrel2.ts'
import { programOf } from './preparation.ts'
import { cpuTimeOf, rssOf } from './process-usage.ts'
import { spreadOf } from './statistics.ts'
import { renderText } from './table.ts'

const OURS = fileURLToPath(new URL('../..', import.meta.url))
const IMPORT = fileURLToPath(new URL('servers/import.mjs', import.meta.url))
const MIB = 1024 ** 2

/** Of an import: what it adds. Of a server: from the start of its process until it is ready. */
interface Sample {
  readonly milliseconds: number
  /** CPU time of all its processes, in milliseconds. */
  readonly cpu?: number
  /** Memory in RAM, of the first process. */
  readonly mib?: number
}

interface Case {
  readonly title: string
  /** By the goals, on a quiet machine. */
  readonly atMost?: Partial<Sample>
  /** Whether it is measured with `--against`, too. */
  readonly ours: boolean
  /** @param checkout The built checkout to measure. */
  measure(node: string, checkout: string): Promise<Sample>
}

const { values: flags } = parseArgs({
  options: {
    node: { type: 'string', multiple: true },
    rounds: { type: 'string', default: '21' },
    against: { type: 'string' },
  },
})

await using mongrel2 = await startMongrel2()
for (const version of flags.node ?? [undefined]) {
  await compare(programOf(version), casesOf(mongrel2))
}

function casesOf({ endpoint, directory }: Mongrel2): readonly Case[] {
  const app = 'test/bench/servers/app.mjs'
  const command = ['dist/src/cli/main.js', 'serve', app, '--export', 'app', '--zeromq', endpoint, '--chroot', directory]
  const workers = [...command, '-p', '2', '--threads', '2']
  const library = `const { serveMongrel2 } = await import('mongrel2-fetch')
    await serveMongrel2(() => new Response('Hello'), { zeromq: ${JSON.stringify(endpoint)} }).ready
    console.log('ready')`
  const nodeServer = `const { serve } = await import('@hono/node-server')
    serve({ fetch: () => new Response('Hello'), port: 0 }, () => console.log('ready'))`
  const others: Omit<Case, 'ours'>[] = [
    { title: "import '@hono/node-server'", measure: importing('node_modules/@hono/node-server/dist/index.mjs') },
    { title: 'Node alone', measure: starting(evaluated("console.log('ready'); setInterval(() => {}, 1000)"), /ready/) },
    { title: '@hono/node-server listens', measure: starting(evaluated(nodeServer), /ready/) },
  ]
  const ours: Omit<Case, 'ours'>[] = [
    {
      title: "import 'mongrel2-fetch'",
      measure: importing('dist/src/index.js'),
      atMost: { milliseconds: 70, mib: 10 },
    },
    { title: "… after import 'hono'", measure: importing('node_modules/hono/dist/index.js', 'dist/src/index.js') },
    { title: 'serveMongrel2 is ready', measure: starting(evaluated(library), /ready/), atMost: { milliseconds: 200 } },
    { title: 'mongrel2-fetch serve is ready', measure: starting(command, /serves/) },
    { title: '… with -p 2 --threads 2', measure: starting(workers, /serves/) },
    { title: '… which SIGHUP replaces', measure: replacing(workers) },
    { title: 'dev serves a change', measure: changing },
  ]
  return [...others.map((one) => ({ ...one, ours: false })), ...ours.map((one) => ({ ...one, ours: true }))]
}

/** Cases take turns: what changes on the machine meanwhile changes all of them. */
async function compare(node: string, cases: readonly Case[]): Promise<void> {
  const { against } = flags
  const entries = cases.flatMap((one) => [
    { ...one, checkout: OURS, samples: [] as Sample[] },
    ...(one.ours && against !== undefined
      ? [{ ...one, title: `  in ${against}`, checkout: against, atMost: {}, samples: [] as Sample[] }]
      : []),
  ])
  const rounds = Number(flags.rounds)
  const progress = showProgress('Measuring')
  for (let round = 0; round < rounds; round++) {
    for (const [n, { title, measure, checkout, samples }] of entries.entries()) {
      progress.at((round + n / entries.length) / rounds, `round ${round + 1} of ${rounds}, ${title.trim()}`)
      samples.push(await measure(node, checkout))
    }
  }
  progress.end()
  const rows = entries.map(({ title, atMost, samples }) => [
    title,
    ...(['milliseconds', 'cpu', 'mib'] as const).map((key) => cell(samples, key, atMost?.[key])),
  ])
  const version = execFileSync(node, ['--version'], { encoding: 'utf8' }).trim()
  console.log(`\nNode ${version}\n\n${renderText([['median (least–most)', 'ms', 'ms of CPU', 'MiB'], ...rows])}`)
}

function cell(samples: readonly Sample[], key: keyof Sample, atMost: number | undefined): string {
  const values = samples.flatMap((sample) => sample[key] ?? [])
  if (values.length === 0) return ''
  const { median, min, max } = spreadOf(values)
  const verdict = atMost === undefined ? '' : median <= atMost ? `, pass: ≤ ${atMost}` : `, FAIL: > ${atMost}`
  return `${median.toFixed(0)} (${min.toFixed(0)}–${max.toFixed(0)})${verdict}`
}

/** Measures the last of some imports within the process, so that Node's own start is not in it. */
function importing(...paths: string[]): Case['measure'] {
  return async (node, checkout) => {
    const modules = paths.map((path) => pathToFileURL(join(checkout, path)).href)
    const run = new CommandRun([node, IMPORT, ...modules], checkout, {})
    await run.ended
    return JSON.parse(run.stdout)
  }
}

/** Measures until a process prints that it is ready. */
function starting(args: readonly string[], ready: RegExp): Case['measure'] {
  return async (node, checkout) => {
    const begin = performance.now()
    const run = new CommandRun([node, ...args], checkout, {})
    await run.prints(ready)
    const milliseconds = performance.now() - begin
    const sample = { milliseconds, cpu: cpuTimeOf(run.pid) / 1000, mib: rssOf(run.pid) / MIB }
    await stop(run)
    return sample
  }
}

/** Measures from the signal until all workers are new ones. */
function replacing(args: readonly string[]): Case['measure'] {
  return async (node, checkout) => {
    const run = new CommandRun([node, ...args], checkout, {})
    await run.prints(/serves/)
    const begin = performance.now()
    run.signal('SIGHUP')
    await run.prints(/has replaced its workers/)
    const milliseconds = performance.now() - begin
    await stop(run)
    return { milliseconds }
  }
}

/** Measures as `dev` does: from the change of the app until the new version serves. */
async function changing(node: string, checkout: string): Promise<Sample> {
  await using workplace = new Workplace({ 'app.mjs': "export default () => new Response('before')" })
  const run = workplace.start([node, join(checkout, 'dist/src/cli/main.js'), 'dev', 'app.mjs', '--port', '0'])
  await run.prints(/serves app\.mjs at/)
  workplace.write('app.mjs', "export default () => new Response('after')")
  const [, milliseconds] = await run.prints(/reloaded in (\d+) ms/)
  await stop(run)
  return { milliseconds: Number(milliseconds) }
}

async function stop(run: CommandRun): Promise<void> {
  run.signal('SIGTERM')
  await run.ended
}

function evaluated(code: string): string[] {
  return ['--input-type=module', '--eval', code]
}
