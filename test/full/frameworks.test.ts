import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { AppProcess } from '../support/app-process.ts'
import { type Answer, ExchangeClient } from '../support/exchange-client.ts'
import { startMongrel2 } from '../support/mongrel2.ts'
import { StepGate } from '../support/step-gate.ts'
import { INSTALL_TIMEOUT, UserProject } from '../support/user-project.ts'
import type { Exchanges } from './frameworks/exchange.ts'

interface Framework {
  /** Its name in docs/frameworks.md. */
  readonly title: string
  readonly package: string
  /** The module in `frameworks/` that is served. */
  readonly app: string
  /** Whose answers are expected of us. */
  readonly peer: '@hono/node-server' | 'srvx'
}

const FRAMEWORKS: readonly Framework[] = [
  { title: 'Hono', package: 'hono', app: 'hono.ts', peer: '@hono/node-server' },
  { title: 'itty-router', package: 'itty-router', app: 'itty-router.ts', peer: '@hono/node-server' },
  { title: 'GraphQL Yoga', package: 'graphql-yoga', app: 'graphql-yoga.ts', peer: '@hono/node-server' },
  { title: 'tRPC', package: '@trpc/server', app: 'trpc.ts', peer: '@hono/node-server' },
  { title: 'h3', package: 'h3', app: 'h3.ts', peer: 'srvx' },
  { title: 'Nitro', package: 'nitro', app: 'nitro.ts', peer: 'srvx' },
  { title: 'Elysia', package: 'elysia', app: 'elysia.ts', peer: 'srvx' },
  { title: 'oRPC', package: '@orpc/server', app: 'orpc.ts', peer: '@hono/node-server' },
  { title: 'Better Auth', package: 'better-auth', app: 'better-auth.ts', peer: '@hono/node-server' },
  { title: 'React Router', package: 'react-router', app: 'react-router.ts', peer: '@hono/node-server' },
  { title: "Remix' fetch-router", package: '@remix-run/fetch-router', app: 'remix-fetch-router.ts', peer: 'srvx' },
  { title: 'SvelteKit', package: '@sveltejs/kit', app: 'sveltekit.ts', peer: 'srvx' },
]

/** Vitest's variables reach the processes that it starts; better-auth leaves out its checks then. */
const AS_IN_PRODUCTION = { NODE_ENV: 'production', TEST: '', VITEST: '' }

/** They are built before they are served. */
const BUILT = ['react-router', 'sveltekit', 'nitro']

/** How long all requests of an app may take, in milliseconds. */
const APP_TIMEOUT = 120_000

const { LINK = 'auto' } = process.env

let project: UserProject

beforeAll(async () => {
  project = await UserProject.create({ from: new URL('frameworks/', import.meta.url) })
  await Promise.all(BUILT.map((name) => project.runScript(`build:${name}`)))
}, 3 * INSTALL_TIMEOUT)

afterAll(() => project?.[Symbol.dispose]())

type Answers = Readonly<Record<string, Answer>>

/** An app's requests, and what a server answers. */
interface Result {
  readonly exchanges: Exchanges
  readonly answers: Answers
}

async function onPeer({ app: path, peer }: Framework): Promise<Result> {
  await using gate = await StepGate.open()
  await using app = start(['--import', 'tsx', 'serve.ts', peer, path], gate)
  const { port, exchanges } = await app.message<{ port: number; exchanges: Exchanges }>()
  const answers = await new ExchangeClient(port, gate).performAll(exchanges)
  for (const [what, answer] of Object.entries(answers)) {
    if ('failure' in answer) throw new Error(`${what}: expected an answer of ${peer}, got ${answer.failure}`)
  }
  return { exchanges, answers }
}

/** Bodies are stored in files. */
async function byCommand(path: string, exchanges: Exchanges, flags: readonly string[] = []): Promise<Answers> {
  await using mongrel2 = await startMongrel2()
  await using gate = await StepGate.open()
  const options = ['--zeromq', mongrel2.endpoint, '--chroot', mongrel2.directory, '--link', LINK, ...flags]
  await using app = start(['node_modules/mongrel2-fetch/dist/src/cli/main.js', 'serve', path, ...options], gate)
  await app.prints(/mongrel2-fetch serves/)
  return await new ExchangeClient(mongrel2.port, gate).performAll(exchanges)
}

/** Bodies are streamed, both ways with flow control. */
async function byLibrary(path: string, exchanges: Exchanges): Promise<Answers> {
  await using mongrel2 = await startMongrel2({ uploads: 'stream', flowControl: true })
  await using gate = await StepGate.open()
  const options = JSON.stringify({ zeromq: mongrel2.endpoint, chroot: mongrel2.directory, link: LINK })
  await using app = start(['--import', 'tsx', 'serve.ts', 'mongrel2-fetch', path, options], gate)
  await app.message()
  return await new ExchangeClient(mongrel2.port, gate).performAll(exchanges)
}

function start(args: readonly string[], gate: StepGate): AppProcess {
  return AppProcess.start(args, project.directory, { STEPS: gate.url, ...AS_IN_PRODUCTION })
}

it('docs/frameworks.md names the versions that are tested', () => {
  const page = readFileSync('docs/frameworks.md', 'utf8')
  const { dependencies } = JSON.parse(readFileSync(new URL('frameworks/package.json', import.meta.url), 'utf8'))
  const rows = FRAMEWORKS.map(({ title, package: name }) => `${title} | ${dependencies[name]}`)
  const tables = page.replace(/ +\|/g, ' |')
  expect(rows.filter((row) => !tables.includes(`\n| ${row} |`))).toEqual([])
})

it('each app has a type that serveMongrel2 takes', () => project.checkTypes(), INSTALL_TIMEOUT)

describe.each(FRAMEWORKS)('an app with $title answers as on $peer', (framework) => {
  let expected: Result

  beforeAll(async () => {
    expected = await onPeer(framework)
  }, APP_TIMEOUT)

  it.concurrent.each([
    ['by the command', byCommand],
    ['by a worker of the command', (path: string, exchanges: Exchanges) => byCommand(path, exchanges, ['-p', '1'])],
    ['by the library', byLibrary],
  ])(
    '%s',
    async (_, serve) => {
      expect(await serve(framework.app, expected.exchanges)).toEqual(expected.answers)
    },
    APP_TIMEOUT,
  )
})
