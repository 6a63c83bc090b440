import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { type ClusterOptions, checkJoinOptions, type JoinOptions } from '../../cluster/cluster-options.ts'
import { type KeyPair, readKeyPair } from '../../cluster/key-pair.ts'
import { type Logger, messageOf } from '../../runtime/log.ts'
import { KEY_FILE } from '../join/keygen.ts'
import { CommandError } from '../shared/exit-code.ts'
import { closeTimeoutOf, named, textOf } from './checked.ts'
import type { GivenOptions } from './given.ts'
import type { OptionKey } from './option-table.ts'

/** What a node of a cluster works with. */
export interface NodeSettings {
  readonly options: JoinOptions
  readonly logger: Logger
  readonly closeTimeout: number
}

const NODE_OPTIONS: readonly OptionKey[] = [
  'cluster',
  'clusterKey',
  'insecure',
  'chroot',
  'config',
  'logger',
  'logLevel',
  'closeTimeout',
  'execArgv',
]

/**
 * Makes the settings of a node, which has all else from its main node.
 *
 * @param joins What was given for it.
 * @throws CommandError `usage`
 */
export function nodeSettingsOf(joins: GivenOptions, logger: Logger): NodeSettings {
  for (const [key, { from }] of joins) {
    if (!NODE_OPTIONS.includes(key) && from.startsWith('--'))
      throw new CommandError('usage', `${from}: expected none without an app, since the main node says it`)
  }
  const keys = keysOf(joins)
  const execArgv = joins.get('execArgv')?.value
  const chroot = textOf(joins, 'chroot')
  const options: JoinOptions = {
    main: textOf(joins, 'cluster') ?? '',
    insecure: joins.get('insecure')?.value === true,
    logger,
    ...(keys === undefined ? {} : { keys }),
    ...(chroot === undefined ? {} : { chroot: resolve(chroot) }),
    ...(Array.isArray(execArgv) ? { execArgv } : {}),
  }
  named(joins, () => checkJoinOptions(options))
  return { options, logger, closeTimeout: closeTimeoutOf(joins) }
}

/** This machine's keys; those of the usual file only where it is there. */
function keysOf(given: GivenOptions): KeyPair | undefined {
  const path = textOf(given, 'clusterKey')
  if (path === undefined && !existsSync(KEY_FILE)) return undefined
  try {
    return readKeyPair(path ?? KEY_FILE)
  } catch (error) {
    throw new CommandError('usage', `${given.get('clusterKey')?.from ?? KEY_FILE}: ${messageOf(error)}`)
  }
}

/**
 * Makes the cluster's options of a main node.
 *
 * @throws CommandError `usage`
 */
export function clusterOf(given: GivenOptions): ClusterOptions | undefined {
  const listen = textOf(given, 'cluster')
  if (listen === undefined) return undefined
  for (const key of ['direct', 'http'] as const) {
    const other = given.get(key)
    if (other !== undefined && other.value !== false)
      throw new CommandError('usage', `${other.from}: expected none with --cluster: nodes have no part in that`)
  }
  const keys = keysOf(given)
  const unchecked: Record<string, unknown> = {
    listen,
    insecure: given.get('insecure')?.value === true,
    keys,
    nodes: given.get('clusterNodes')?.value,
    zeromq: given.get('clusterZeromq')?.value,
  }
  for (const [key, value] of Object.entries(unchecked)) if (value === undefined) delete unchecked[key]
  return unchecked as object as ClusterOptions
}
