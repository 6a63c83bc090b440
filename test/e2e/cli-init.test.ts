import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { Workplace } from '../support/command.ts'

let place: Workplace

beforeEach(() => {
  place = new Workplace()
})

afterEach(async () => {
  await place[Symbol.asyncDispose]()
})

async function init(...args: string[]): Promise<{ code: unknown; stdout: string; stderr: string }> {
  const run = place.run(['init', ...args])
  return { code: await run.ended, stdout: run.stdout, stderr: run.stderr }
}

const read = (path: string) => readFileSync(join(place.directory, path), 'utf8')
const TESTED = JSON.parse(readFileSync('package.json', 'utf8'))

it('init writes a project with the name of its directory and prints the next three commands', async () => {
  expect(await init('parts/Some App', '--template', 'chat')).toEqual({
    code: 0,
    stdout:
      "Wrote 14 files of the template chat to parts/Some App, next:\n\n  cd 'parts/Some App'\n  npm install\n  npm run dev\n\n",
    stderr: '',
  })
  const project = join(place.directory, 'parts/Some App')
  const files = readdirSync(project, { recursive: true, encoding: 'utf8' }).sort()
  expect(files).toEqual([
    '.dockerignore',
    '.gitignore',
    'README.md',
    'app.test.ts',
    'app.ts',
    'deploy',
    'deploy/Dockerfile',
    'deploy/compose.yaml',
    'deploy/some-app-mongrel2.service',
    'deploy/some-app.service',
    'mongrel2-fetch.config.ts',
    'mongrel2.conf',
    'package.json',
    'page.html',
    'tsconfig.json',
  ])
  for (const file of files.filter((name) => name !== 'deploy')) {
    expect(readFileSync(join(project, file), 'utf8'), file).not.toContain('my-app')
  }
  expect(JSON.parse(read('parts/Some App/package.json'))).toMatchObject({
    name: 'some-app',
    type: 'module',
    engines: TESTED.engines,
    dependencies: {
      'mongrel2-fetch': `^${TESTED.version}`,
      hono: TESTED.devDependencies.hono,
      tsx: TESTED.devDependencies.tsx,
    },
  })
})

it('init changes no file that exists, names it, and ends with 1', async () => {
  await init('hono')
  place.write('hono/app.ts', 'mine')
  place.write('package.json', 'mine')
  const again = await init('hono')
  expect(again).toMatchObject({ code: 1, stdout: expect.stringMatching(/^Wrote 0 files/) })
  expect(again.stderr).toMatch(
    /^mongrel2-fetch: these files existed and are unchanged: \.dockerignore, .*, app\.ts, .*, tsconfig\.json\n$/,
  )
  expect(read('hono/app.ts')).toBe('mine')
  // A project of this name could not install the package of this name.
  expect(JSON.parse(read('hono/package.json')).name).toBe('hono-app')

  expect(await init()).toEqual({
    code: 1,
    stdout: 'Wrote 12 files of the template hono to ., next:\n\n  npm install\n  npm run dev\n  npm test\n\n',
    stderr: 'mongrel2-fetch: these files existed and are unchanged: package.json\n',
  })
  expect(read('package.json')).toBe('mine')
})

it.each([
  [['new', '--template', 'rails'], 'mongrel2-fetch: --template: expected one of hono, itty, plain, chat, got "rails"'],
  [['package.json'], 'mongrel2-fetch: cannot write package.json/package.json: '],
  [['new', 'other'], 'mongrel2-fetch: expected one argument at most, got 2: new other'],
])('init refuses %j', async (args, reason) => {
  const { code, stderr } = await init(...args)
  expect([code, stderr]).toEqual([2, expect.stringContaining(reason)])
  expect(existsSync(join(place.directory, 'new'))).toBe(false)
})
