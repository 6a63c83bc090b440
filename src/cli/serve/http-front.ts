import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { v4 } from 'uuid'
import { HttpGateway, type ListenAt } from '../../gateway/http.ts'
import { checkSettings, type FrontSettings } from '../../gateway/options.ts'
import type { EndpointOptions } from '../../options/endpoint.ts'
import { type Logger, messageOf } from '../../runtime/log.ts'
import { guardDirectory } from '../../runtime/orphan-guard.ts'
import { temporaryPath } from '../../runtime/temporary-directory.ts'
import { CommandError } from '../shared/exit-code.ts'

/** A server of ordinary HTTP beside Mongrel2. */
export interface HttpSettings {
  readonly at: ListenAt
  /** The endpoint by which the app serves it. */
  readonly endpoint: EndpointOptions
  /** The bounds, and whether the header of a proxy is kept. */
  readonly settings: FrontSettings
}

/** An endpoint in a directory that `startHttpFront` creates for this user only. */
export function httpEndpoint(): EndpointOptions {
  const directory = temporaryPath()
  return {
    sendSpec: `ipc://${join(directory, 'send')}`,
    recvSpec: `ipc://${join(directory, 'recv')}`,
    link: 'zmtp',
    controlPort: false,
  }
}

/** A server that turns HTTP requests into messages for the app, as Mongrel2 does. */
export interface HttpFront {
  /** Its URL, or the path of its socket. */
  readonly where: string
  /** Accepts no more clients. */
  stop(): void
  /** Ends every connection. */
  close(): Promise<void>
}

/** Starts a server of ordinary HTTP; throws CommandError `front` if it cannot listen. */
export async function startHttpFront(
  { at, endpoint, settings: bounds }: HttpSettings,
  flowControl: boolean,
  logger: Logger,
): Promise<HttpFront> {
  const { sendSpec, recvSpec } = endpoint
  const directory = join(sendSpec.slice('ipc://'.length), '..')
  const removeDirectory = guardDirectory(directory)
  mkdirSync(directory, { mode: 0o700 })
  const route = { path: '', sendSpec, recvSpec, sendIdent: v4(), recvIdent: '', protocol: 'tnetstring' } as const
  const settings = checkSettings({ ...bounds, flowControl, logger })
  try {
    const gateway = await HttpGateway.start({ ...settings, routes: [route] }, at)
    return {
      where: 'path' in at ? at.path : urlOf(at.host, gateway.address?.port),
      stop: () => gateway.stop(),
      close: () => gateway.close().then(removeDirectory),
    }
  } catch (error) {
    removeDirectory()
    throw new CommandError('front', `--http cannot listen: ${messageOf(error)}`)
  }
}

function urlOf(host = '0.0.0.0', port = 0): string {
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}/`
}
