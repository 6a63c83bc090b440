import { statSync } from 'node:fs'
import type { Settings } from '../../exchange/options.ts'
import { controlPortOf } from '../../link/control-port.ts'
import { createControl } from '../../mongrel2/control.ts'
import type { DatabaseHandler, DatabaseServer } from '../../mongrel2/database.ts'
import type { EndpointSettings } from '../../options/endpoint.ts'
import { type Probed, probe, subscriptionAt } from './probe.ts'
import { type Listener, listenerOf, type Mongrel2Process, processOf } from './processes.ts'

/** Milliseconds for an answer of the control port. */
const CONTROL_TIMEOUT = 1500

/** What the control port says. */
interface ControlFacts {
  /** Milliseconds by which Mongrel2's clock is ahead of ours. */
  readonly clock: number
  readonly connections: number
}

/** What is known of one Handler and its Mongrel2. */
export interface Facts {
  readonly endpoint: EndpointSettings
  readonly settings: Settings
  /** Processes that should pull from it. */
  readonly pullers: number
  /** All servers of `--mongrel2`. */
  readonly servers: readonly DatabaseServer[]
  /** The server and the Handler in the database that have one of the addresses. */
  readonly server: DatabaseServer | undefined
  readonly handler: DatabaseHandler | undefined
  readonly send: Probed & { readonly listener: Listener | undefined }
  readonly recv: Probed & { readonly listener: Listener | undefined; readonly subscription: string | undefined }
  readonly process: Mongrel2Process | undefined
  /** The user and group that Mongrel2 runs as. */
  readonly owner: { readonly uid: number; readonly gid: number } | undefined
  readonly control: ControlFacts | undefined
}

/** Finds out what can be known of an endpoint. Takes no message of its Handler. */
export async function examine(
  endpoint: EndpointSettings,
  { settings, pullers, servers }: Pick<Facts, 'settings' | 'pullers' | 'servers'>,
): Promise<Facts> {
  const { sendSpec, recvSpec } = endpoint
  // Before our own connections.
  const [sendListener, recvListener] = [listenerOf(sendSpec), listenerOf(recvSpec)]
  const [send, recv, control] = await Promise.all([probe(sendSpec), probe(recvSpec), askControl(endpoint)])
  const found = servers
    .flatMap((server) => server.handlers.map((handler) => ({ server, handler })))
    .find(({ handler }) => [handler.sendSpec, handler.recvSpec].some((spec) => spec === sendSpec || spec === recvSpec))
  const { pid } = sendListener ?? recvListener ?? {}
  const mongrel2 = pid === undefined ? undefined : processOf(pid)
  return {
    endpoint,
    settings,
    pullers,
    servers,
    server: found?.server,
    handler: found?.handler,
    send: { ...send, listener: sendListener },
    recv: {
      ...recv,
      listener: recvListener,
      subscription: recv.type === 'SUB' ? await subscriptionAt(recvSpec) : undefined,
    },
    process: mongrel2,
    owner: mongrel2 ?? ownerOf([sendSpec, recvSpec, controlPortOf(endpoint)?.spec ?? '']),
    control,
  }
}

async function askControl(endpoint: EndpointSettings): Promise<ControlFacts | undefined> {
  const address = controlPortOf(endpoint)
  if (address === undefined) return undefined
  using control = createControl(address.spec, { timeout: CONTROL_TIMEOUT })
  try {
    const clock = (await control.time()).getTime() - Date.now()
    return { clock, connections: (await control.connections()).length }
  } catch {
    return undefined
  }
}

/** The owner of a socket that Mongrel2 has made. */
function ownerOf(specs: readonly string[]): { uid: number; gid: number } | undefined {
  const paths = specs.filter((spec) => spec.startsWith('ipc://')).map((spec) => spec.slice('ipc://'.length))
  for (const path of paths) {
    const stats = statSync(path, { throwIfNoEntry: false })
    if (stats !== undefined) return stats
  }
  return undefined
}
