import { replaceGlobalsFirst } from '../../platform/globals.ts'
import { loadHandler } from '../modules/load-handler.ts'
import type { OptionSources, Subcommand } from '../options/command-options.ts'
import { settingsOf } from '../options/settings.ts'
import { CommandError } from '../shared/exit-code.ts'
import { MEMORY_ENDPOINT, MemoryClient } from './memory-client.ts'

/** Loads the app, which gets its options as with `serve`, and returns a client for it. Nothing is counted or logged of its requests. */
export async function appClient(command: Subcommand, flags: OptionSources): Promise<MemoryClient> {
  const { app, exportName, options } = await settingsOf(
    command,
    new Map([...flags, ['zeromq', { value: [MEMORY_ENDPOINT], from: command }]]),
  )
  const { accessLog: _accessLog, record: _record, ...ofServer } = options
  // Before the app is loaded, which may keep the classes that it finds.
  if (options.overrideGlobalObjects === true) replaceGlobalsFirst()
  return await MemoryClient.start((await loadHandler(app, exportName)).handler, ofServer)
}

/** Parses `Name: value` of a flag. */
export function fieldIn(text: string): [name: string, value: string] {
  const [, name, value] = /^([!#$%&'*+.^`|~\w-]+):\s*([^\r\n]*?)\s*$/.exec(text) ?? []
  if (name === undefined || value === undefined)
    throw new CommandError('usage', `--header: expected 'Name: value', got ${JSON.stringify(text)}`)
  return [name.toLowerCase(), Buffer.from(value).toString('latin1')]
}
