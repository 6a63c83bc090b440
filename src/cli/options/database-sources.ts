import { resolve } from 'node:path'
import { type DatabaseHandler, type DatabaseServer, flagIn, readDatabase } from '../../mongrel2/database.ts'
import type { EndpointOptions } from '../../options/endpoint.ts'
import { HANDLER_TARGETS } from '../../wire/limits.ts'
import { CommandError } from '../shared/exit-code.ts'
import { checkedValue, type OptionKey, type OptionSources } from './command-options.ts'

/** A Handler with its server. */
interface ServedHandler {
  readonly server: DatabaseServer
  readonly handler: DatabaseHandler
}

/** What a server's database says in the place of an option. */
const OPTIONS_IN_DATABASE = {
  chroot: (server) => server.chroot,
  'uploads.tempStore': ({ settings }) => settings.get('upload.temp_store'),
  flowControl: ({ settings }) => flagIn(settings, 'download.flow_control'),
  handlerTargets: ({ settings }) => Number(settings.get('limits.handler_targets') ?? HANDLER_TARGETS),
} satisfies Partial<Record<OptionKey, (server: DatabaseServer) => string | number | boolean | undefined>>

/**
 * Adds to the options what Mongrel2's database says of the Handlers that `--mongrel2` and `--handler` choose. An option comes before the database;
 * `warn` gets a line for each that contradicts it. Throws CommandError `usage`.
 */
export async function withDatabase(sources: OptionSources, warn: (line: string) => void): Promise<OptionSources> {
  const { from } = sources.get('mongrel2') ?? {}
  if (from === undefined) {
    const handler = sources.get('handler')
    if (handler !== undefined) throw new CommandError('usage', `${handler.from} cannot be used without --mongrel2`)
    return sources
  }
  const servers = await serversOf(sources)
  for (const [key, inDatabase] of Object.entries(OPTIONS_IN_DATABASE)) {
    const given = sources.get(key as OptionKey)
    if (given === undefined) continue
    const value = key === 'chroot' ? resolve(String(given.value)) : given.value
    for (const server of servers) {
      const other = inDatabase(server)
      if (other !== value)
        warn(`${given.from} is ${value}, but ${from} says ${other} for the server ${server.uuid}: ${value} is used`)
    }
  }
  const endpoints = endpointsOf(servers, sources, warn)
  const handlerTargets = Math.min(...servers.map(OPTIONS_IN_DATABASE.handlerTargets))
  return new Map([
    ['handlerTargets', { value: handlerTargets, from }],
    ...sources,
    ['zeromq', { value: endpoints, from: sources.get('zeromq')?.from ?? from }],
  ])
}

/** The servers that `--mongrel2` names, each once. */
export async function serversOf(sources: OptionSources): Promise<DatabaseServer[]> {
  const { from = '' } = sources.get('mongrel2') ?? {}
  const servers: DatabaseServer[] = []
  for (const place of checkedValue(sources, 'mongrel2')) {
    const at = place.lastIndexOf('#')
    const [path, name] = at === -1 ? [place, undefined] : [place.slice(0, at), place.slice(at + 1)]
    const all = await readDatabase(path).catch((error: Error) => {
      throw new CommandError('usage', `${from}: ${error.message}`)
    })
    const found =
      name === undefined ? all : all.filter((server) => [server.uuid, server.name, server.defaultHost].includes(name))
    const [server] = found
    if (server === undefined || found.length > 1) {
      const uuids = all.map(({ uuid }) => uuid).join(', ')
      throw new CommandError(
        'usage',
        `${from}: expected ${path}#SERVER with the uuid, name or default host of one of the servers ${uuids}, got ${place}`,
      )
    }
    servers.push(server)
  }
  return servers
}

/** The endpoints to serve: those of `--zeromq`, those that `--handler` chooses, or the only one of each server. */
function endpointsOf(
  servers: readonly DatabaseServer[],
  sources: OptionSources,
  warn: (line: string) => void,
): EndpointOptions[] {
  const zeromq = sources.get('zeromq')
  const handler = sources.get('handler')
  if (zeromq === undefined) return servedHandlers(servers, sources).map((served) => endpointOf(served, sources))
  if (handler !== undefined)
    throw new CommandError('usage', `${handler.from} cannot be used with ${zeromq.from}, which names Handlers too`)
  const all = handlersOf(servers)
  return checkedValue(sources, 'zeromq').map((own) => {
    const found = all.find(({ handler }) => handler.sendSpec === own.sendSpec && handler.recvSpec === own.recvSpec)
    if (found !== undefined) return { ...endpointOf(found, sources), ...own }
    warn(
      `${zeromq.from} is ${own.sendSpec},${own.recvSpec}, which no Handler of ${sources.get('mongrel2')?.from} has: it is used as it is`,
    )
    return own
  })
}

function handlersOf(servers: readonly DatabaseServer[]): ServedHandler[] {
  return servers.flatMap((server) => server.handlers.map((handler) => ({ server, handler })))
}

/** The Handlers that `--handler` chooses by their send_ident or a route; without it, the only one of each server. */
function servedHandlers(servers: readonly DatabaseServer[], sources: OptionSources): ServedHandler[] {
  const { from = '--handler' } = sources.get('handler') ?? {}
  const names = checkedValue(sources, 'handler')
  const chosen =
    names.length === 0
      ? servers.map((server) => handlersOf([server]))
      : names.flatMap((name) => {
          const found = handlersOf(servers).filter(
            ({ handler }) => handler.sendIdent === name || handler.routes.includes(name),
          )
          return found.length === 0
            ? [[]]
            : servers.map((server) => found.filter((each) => each.server === server)).filter(({ length }) => length > 0)
        })
  if (chosen.some((found) => found.length !== 1)) {
    const there = handlersOf(servers).map(({ handler }) => `${handler.sendIdent} (${handler.routes.join(' ')})`)
    throw new CommandError(
      'usage',
      `${from}: expected the send_ident or a route of one Handler, got ${names.join(' ') || 'none'}; there are ${there.join(', ') || 'none'}`,
    )
  }
  return [...new Map(chosen.flat().map((served) => [served.handler, served])).values()]
}

/** A Handler as an endpoint, without what an option sets. */
function endpointOf({ server, handler }: ServedHandler, sources: OptionSources): EndpointOptions {
  const tempStore = OPTIONS_IN_DATABASE['uploads.tempStore'](server)
  return {
    sendSpec: handler.sendSpec,
    recvSpec: handler.recvSpec,
    ...(sources.get('controlPort')?.value !== false && { controlPort: server.controlPort }),
    ...(!sources.has('chroot') && { chroot: server.chroot }),
    ...(!sources.has('uploads.tempStore') && tempStore !== undefined && { uploads: { tempStore } }),
    ...(!sources.has('flowControl') && { flowControl: OPTIONS_IN_DATABASE.flowControl(server) }),
  }
}
