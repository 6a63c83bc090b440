import { createRequire } from 'node:module'
import { lazy } from './lazy.ts'

/** This package's version. */
export const ownVersion: () => string = lazy(
  () => createRequire(import.meta.url)('mongrel2-fetch/package.json').version,
)

/** The runtime and its version, such as `Node 24.11.0`. Bun and Deno also have a version of Node. */
export function runtimeName(): string {
  const { bun, deno, node } = process.versions
  if (bun !== undefined) return `Bun ${bun}`
  return deno === undefined ? `Node ${node}` : `Deno ${deno}`
}
