import { rmSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { nodeOf } from '../support/other-node.ts'
import { writeServedFiles } from './served.ts'

/** Makes the directory of a run, with the files that servers find by the variable BENCH_FILES. It is removed when this process ends. */
export async function createDirectory(): Promise<string> {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => process.exit(1))
  const directory = await mkdtemp(join(tmpdir(), 'mongrel2-fetch-bench-'))
  process.on('exit', () => rmSync(directory, { recursive: true, force: true }))
  process.env.BENCH_FILES = directory
  await writeServedFiles(directory)
  return directory
}

/** Makes all servers alike keep the memory of a large body for the next one, as the manual advises. */
export function keepMemory(): void {
  Object.assign(process.env, { MALLOC_MMAP_THRESHOLD_: '33554432', MALLOC_TRIM_THRESHOLD_: '67108864' })
}

/** The program of a version of Node, this one's without a version. Throws Error if it cannot be had. */
export function programOf(version: string | undefined): string {
  const program = version === undefined ? process.execPath : nodeOf(version)
  if (program === undefined) throw new Error(`Node ${version} cannot be had by npm.`)
  return program
}

/** Those of all names that a flag gives; all without it. Throws Error if there is none of a name. */
export function chosen<Name extends string>(
  what: string,
  table: Record<Name, unknown>,
  given: readonly string[] | undefined,
): Name[] {
  const all = Object.keys(table) as Name[]
  const unknown = given?.find((name) => !all.some((known) => known === name))
  if (unknown !== undefined) throw new Error(`There is no ${what} '${unknown}'; there are ${all.join(', ')}.`)
  return all.filter((name) => given === undefined || given.includes(name))
}
