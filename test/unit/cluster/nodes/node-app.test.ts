import { pathToFileURL } from 'node:url'
import { expect, it } from 'vitest'
import { appSourceOf, nodeAppOf } from '../../../../src/cluster/nodes/node-app.ts'

it('a module below the working directory is found below that of a node', () => {
  const app = nodeAppOf({ module: pathToFileURL('apps/app.js').href, data: 1 })
  expect(app).toEqual({ from: 'directory', path: 'apps/app.js', data: 1 })
  expect(appSourceOf(app)).toEqual({ module: pathToFileURL('apps/app.js').href, data: 1 })
})

it('a module of this package is found in the package, wherever that is', () => {
  const module = new URL('../../../../src/serve.ts', import.meta.url).href
  const app = nodeAppOf({ module })
  expect(app).toMatchObject({ from: 'package', path: 'serve.ts' })
  expect(appSourceOf(app).module).toBe(module)
})
