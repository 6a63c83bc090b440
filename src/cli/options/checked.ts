import { checkTimeout } from '../../options/option-check.ts'
import { Mongrel2Error } from '../../runtime/errors.ts'
import { CommandError } from '../shared/exit-code.ts'
import type { GivenOptions } from './given.ts'
import { OPTIONS, type OptionKey } from './option-table.ts'

/** Runs a check of the library, which knows the names of its own options only. */
export function named<T>(given: GivenOptions, check: () => T, key?: OptionKey): T {
  try {
    return check()
  } catch (error) {
    if (!(error instanceof Mongrel2Error)) throw error
    const [name = '', ...rest] = error.message.split(': ')
    const from = [...given].find(([option]) => option === (key ?? keyOf(name)))?.[1].from
    throw new CommandError('usage', from === undefined ? error.message : `${from}: ${rest.join(': ')}`)
  }
}

const CLUSTER_KEYS: readonly (readonly [name: string, key: OptionKey])[] = [
  ['main', 'cluster'],
  ['keys', 'clusterKey'],
  ['cluster.listen', 'cluster'],
  ['cluster.keys', 'clusterKey'],
  ['cluster.nodes', 'clusterNodes'],
  ['cluster.zeromq', 'clusterZeromq'],
]

/** The option that the library speaks of; it names the parts of an endpoint one by one. */
function keyOf(name: string): OptionKey | undefined {
  if (['sendSpec', 'recvSpec', 'controlPort'].includes(name)) return 'zeromq'
  const [, cluster] = CLUSTER_KEYS.find(([known]) => known === name) ?? []
  if (cluster !== undefined) return cluster
  return OPTIONS.find(({ key }) => key === name)?.key
}

/** How long open requests may take at the end. */
export function closeTimeoutOf(given: GivenOptions): number {
  return named(given, () => checkTimeout(given.get('closeTimeout')?.value), 'closeTimeout')
}

/** The text that was given for an option. */
export function textOf(given: GivenOptions, key: OptionKey): string | undefined {
  const value = given.get(key)?.value
  return typeof value === 'string' ? value : undefined
}
