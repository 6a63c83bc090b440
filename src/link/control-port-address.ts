import { accessSync, constants, statSync } from 'node:fs'
import { join } from 'node:path'
import { IPC_LONGEST } from './endpoint.ts'

/** Mongrel2's default `control_port`, in its chroot. */
const DEFAULT_PATH = 'run/control'

/** Where a control port may be asked. */
export interface ControlPortAddress {
  /** `ipc://PATH` or `tcp://HOST:PORT`. */
  readonly spec: string
  /** Whether the user has named it. Otherwise it is where a Mongrel2 with that chroot has it by default. */
  readonly named: boolean
}

/**
 * The control port of an endpoint; undefined where none is to be used.
 *
 * @param named The one that the user has named.
 * @param chroot Where to look for one otherwise; undefined to use none.
 */
export function controlPortAddress(
  named: string | undefined,
  chroot: string | undefined,
): ControlPortAddress | undefined {
  if (named !== undefined) return { spec: named, named: true }
  if (chroot === undefined) return undefined
  const path = join(chroot, DEFAULT_PATH)
  return Buffer.byteLength(path) > IPC_LONGEST ? undefined : { spec: `ipc://${path}`, named: false }
}

/** Says why a control port that nobody has named cannot be asked; undefined where nothing is wrong as far as can be seen. */
export function controlPortProblem({ spec, named }: ControlPortAddress): string | undefined {
  if (named) return undefined
  const path = spec.slice('ipc://'.length)
  try {
    if (!statSync(path).isSocket()) return 'it is no socket'
    accessSync(path, constants.W_OK)
    return undefined
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    return code === 'EACCES' ? 'permission denied' : 'it is not there'
  }
}
