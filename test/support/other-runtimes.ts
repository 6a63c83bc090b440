import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'

const ARCH = process.arch === 'arm64' ? { deno: 'arm64', bun: 'aarch64' } : { deno: 'x64', bun: 'x64' }

/** Another runtime than Node. */
export interface Runtime {
  readonly name: string
  readonly version: string
  /** The npm package that holds nothing but its program. */
  readonly pack: string
  /** The program in it. */
  readonly program: string
  /** What comes before a script. */
  readonly args: readonly string[]
}

export const DENO: Runtime = {
  name: 'Deno',
  version: '2',
  pack: `@deno/linux-${ARCH.deno}-glibc`,
  program: 'deno',
  args: ['run', '--allow-all'],
}

export const BUN: Runtime = {
  name: 'Bun',
  version: '1.4',
  pack: `@oven/bun-linux-${ARCH.bun}`,
  program: 'bin/bun',
  args: [],
}

/** Installs a runtime in a directory; returns the command to which a script is added. */
export async function installRuntime(directory: string, runtime: Runtime): Promise<string[]> {
  const { pack, version, program, args } = runtime
  const install = [
    'install',
    '--prefer-offline',
    '--no-audit',
    '--no-fund',
    '--prefix',
    directory,
    `${pack}@${version}`,
  ]
  await promisify(execFile)('npm', install)
  return [join(directory, 'node_modules', pack, program), ...args]
}
