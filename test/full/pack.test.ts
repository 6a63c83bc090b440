import { execFileSync } from 'node:child_process'
import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'

let clone: string

beforeEach(() => {
  clone = mkdtempSync(join(tmpdir(), 'pack-test-'))
  // What a clone lacks; a copy, so that changes which are not committed are tested.
  const absent = new Set(['.git', 'node_modules', 'dist'])
  cpSync(process.cwd(), clone, { recursive: true, filter: (path) => !absent.has(relative(process.cwd(), path)) })
})

afterEach(() => {
  rmSync(clone, { recursive: true, force: true })
})

it.each([[[]], [['--dry-run']]])(
  'npm pack %j in a fresh clone installs what it needs and packs dist',
  (options) => {
    const output = execFileSync('npm', ['pack', ...options], { cwd: clone, encoding: 'utf8', stdio: 'pipe' })
    expect(output).toMatch(/^mongrel2-fetch-.*\.tgz$/m)
    const packed = execFileSync('npm', ['pack', '--json', '--dry-run', '--ignore-scripts'], {
      cwd: clone,
      encoding: 'utf8',
    })
    expect(packed).toContain('"dist/src/index.js"')
  },
  180_000,
)
