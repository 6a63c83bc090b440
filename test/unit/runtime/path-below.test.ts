import { expect, it } from 'vitest'
import { pathBelow } from '../../../src/runtime/path-below.ts'

it.each([
  ['/app', '/app', '.'],
  ['/app', '/app/src/app.ts', 'src/app.ts'],
  ['/app', '/app/..hidden/app.ts', '..hidden/app.ts'],
  ['/', '/app', 'app'],
  ['/app', '/', undefined],
  ['/app', '/application', undefined],
  ['/app', '/app/../other', undefined],
])('from %s the way down to %s is %s', (directory, path, way) => {
  expect(pathBelow(directory, path)).toBe(way)
})
