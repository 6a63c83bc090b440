import { availableParallelism } from 'node:os'
import { checkOptions } from '../../exchange/options.ts'
import { checkedValue, type OptionSources } from '../options/command-options.ts'
import { serversOf } from '../options/database-sources.ts'
import { gather, serverOptions } from '../options/settings.ts'
import type { Ending } from '../shared/exit-code.ts'
import { ADDRESS_CHECKS } from './addresses.ts'
import { CAPACITY_CHECKS } from './capacity.ts'
import type { Check, Mistake, Unknown } from './check.ts'
import { examine } from './facts.ts'
import { FILE_CHECKS } from './files.ts'
import { IDENTITY_CHECKS } from './identities.ts'
import { SETTING_CHECKS } from './settings.ts'

const CHECKS: readonly Check[] = [
  ...ADDRESS_CHECKS,
  ...IDENTITY_CHECKS,
  ...FILE_CHECKS,
  ...SETTING_CHECKS,
  ...CAPACITY_CHECKS,
]

/** The result of a check at one Handler: all is well, unless it has more than a title. */
type Result = { readonly at: string; readonly title: string } & Partial<Mistake & Unknown>

/** Runs `mongrel2-fetch doctor`: looks for mistakes at each Handler that `serve` would serve with the same options. */
export async function doctorCommand(flags: OptionSources): Promise<Ending> {
  const { sources, logger } = await gather('doctor', flags)
  const options = serverOptions(sources, undefined, logger)
  const settings = checkOptions(() => new Response(), options)
  const servers = await serversOf(sources)
  const workers = checkedValue(sources, 'workers')
  const processes = workers === 'auto' ? availableParallelism() : workers
  const pullers = checkedValue(sources, 'direct') ? processes : 1
  const results: Result[] = []
  for (const endpoint of settings.endpoints) {
    const facts = await examine(endpoint, { settings, pullers, servers })
    const at = `${endpoint.sendSpec},${endpoint.recvSpec}`
    for (const { title, ...check } of CHECKS) results.push({ at, title, ...check.find(facts) })
  }
  console.log(checkedValue(sources, 'json') ? JSON.stringify(results) : reportText(results))
  return results.some(({ found }) => found !== undefined) ? 'failed' : 'ok'
}

function reportText(results: readonly Result[]): string {
  const mistakes = results.filter(({ found }) => found !== undefined)
  const unknown = results.filter(({ unknown }) => unknown !== undefined)
  const lines = mistakes.flatMap(({ at, title, found, advice }) => [
    `Failed: ${title} (${at})`,
    `  Found: ${found}`,
    `  To do: ${advice}`,
  ])
  for (const { title, unknown: why } of unknown) lines.push(`Not checked: ${title}; ${why}`)
  const passed = results.length - mistakes.length - unknown.length
  const summary = `${passed} passed, ${mistakes.length} failed, ${unknown.length} could not be made`
  return [...lines, `${results.length} checks: ${summary}`].join('\n')
}
