import { execFileSync } from 'node:child_process'
import { isBuiltin } from 'node:module'
import { tmpdir } from 'node:os'

/** The path of a Node with `node:sqlite`: this one if it has that, otherwise 24. */
export function nodeWithSqlite(): string | undefined {
  return isBuiltin('node:sqlite') ? process.execPath : nodeOf(24)
}

/** The path of a Node from a package with the binary, as in test/run.mjs; undefined where it cannot be had. */
export function nodeOf(version: number | string): string | undefined {
  const args = [
    'exec',
    '--yes',
    `--package=node-linux-${process.arch}@${version}`,
    '--',
    'node',
    '-p',
    'process.execPath',
  ]
  try {
    // Outside of the checkout: npm would take its settings for the package's.
    return execFileSync('npm', args, { cwd: tmpdir(), encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
  } catch {
    return undefined
  }
}
