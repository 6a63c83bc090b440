import { pathToFileURL } from 'node:url'
import { expect, it } from 'vitest'
import load from '../../../src/cli/modules/worker-app.ts'
import { appSourceOf, type NodeApp, nodeAppOf } from '../../../src/cluster/node-app.ts'

it('a module below the working directory is found below that of a node', () => {
  const app = nodeAppOf({ module: pathToFileURL('apps/app.js').href, data: 1 })
  expect(app).toEqual({ from: 'directory', path: 'apps/app.js', data: 1 })
  expect(appSourceOf(app)).toEqual({ module: pathToFileURL('apps/app.js').href, data: 1 })
})

it('the module of the command is found in the package, wherever that is, and told what its files have to be below', () => {
  const module = new URL('../../../src/cli/modules/worker-app.ts', import.meta.url).href
  const app = nodeAppOf({ module, data: { app: 'app.ts' } })
  expect(app).toMatchObject({ from: 'package', path: 'cli/modules/worker-app.ts' })
  expect(appSourceOf(app)).toEqual({ module, data: { app: 'app.ts', within: process.cwd() } })
})

it.each<NodeApp>([
  { from: 'directory', path: '../outside/evil.mjs' },
  { from: 'directory', path: 'apps/../../evil.mjs' },
  { from: 'directory', path: '/tmp/evil.mjs' },
  { from: 'package', path: 'serve.ts' },
  { from: 'package', path: '../../evil.mjs' },
  { from: 'package', path: 'cli/modules/worker-app.js/../../../evil.mjs' },
])('a main node cannot have %o run', (app) => {
  expect(() => appSourceOf(app)).toThrow(/^app: expected .* got/)
})

it.each([{ app: '../outside/evil.mjs' }, { app: '/tmp/evil.mjs' }, { app: 'app.mjs', config: '../evil.config.mjs' }])(
  'nor does the module of the command load %o for it',
  async (data) => {
    await expect(load({ exportName: undefined, ...data, within: process.cwd() })).rejects.toThrow(/evil.* is not below/)
  },
)
