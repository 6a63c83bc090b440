import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, it } from 'vitest'

/** The modules that a module loads, itself included. */
function loadedBy(path: string, seen = new Set<string>()): Set<string> {
  if (seen.has(path)) return seen
  seen.add(path)
  const statements = readFileSync(path, 'utf8').matchAll(/^(?:import|export) (?!type )[^;]*?from '(\.[^']+)'/gms)
  for (const [, name = ''] of statements) loadedBy(join(dirname(path), name), seen)
  return seen
}

it('mongrel2-fetch loads nothing of mongrel2-fetch/mongrel2 but the client of the control port', () => {
  const loaded = [...loadedBy('src/index.ts')].filter((path) => path.startsWith('src/mongrel2/'))
  expect(loaded).toEqual(['src/mongrel2/control-client.ts'])
  expect([...loadedBy('src/mongrel2/index.ts')]).toEqual(
    expect.arrayContaining(['src/mongrel2/render-config.ts', 'src/mongrel2/control.ts']),
  )
})
