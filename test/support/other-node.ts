import { execFileSync } from 'node:child_process'
import { isBuiltin } from 'node:module'

/**
 * The path of a Node with `node:sqlite`: this one, or 24 from a package with the binary, as in test/run.mjs; undefined where it cannot be had.
 */
export function nodeWithSqlite(): string | undefined {
  if (isBuiltin('node:sqlite')) return process.execPath
  const args = ['exec', '--yes', `--package=node-linux-${process.arch}@24`, '--', 'node', '-p', 'process.execPath']
  try {
    return execFileSync('npm', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
  } catch {
    return undefined
  }
}
