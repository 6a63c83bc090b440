import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { Gateway, type GatewayAddress } from '../../gateway/gateway.ts'
import { checkSettings, type FrontSettings, type Places } from '../../gateway/options.ts'
import type { EndpointOptions } from '../../options/endpoint.ts'
import { type Logger, messageOf } from '../../runtime/log.ts'
import { guardDirectory } from '../../runtime/process/orphan-guard.ts'
import { checkCertificate, type GivenCertificate, renewCertificate } from '../shared/certificate.ts'
import { CommandError } from '../shared/exit-code.ts'

/** A gateway beside Mongrel2. */
export interface AppGatewaySettings {
  readonly places: Places
  /** How they were given, such as `--http`. */
  readonly from: readonly string[]
  /** The certificate of `http`; undefined for plain HTTP. */
  readonly certificate: GivenCertificate | undefined
  /** The endpoint by which the app serves it. */
  readonly endpoint: EndpointOptions
  /** The bounds, and whether the header of a proxy is kept. */
  readonly settings: FrontSettings
}

/** A gateway that turns requests into messages for the app, as Mongrel2 does. */
export interface AppGateway {
  /** Its URLs and addresses. */
  readonly where: readonly string[]
  /** Reads the certificate anew, and logs how that went. */
  renewCertificate(): Promise<void>
  /** Accepts no more clients. */
  stop(): void
  /** Ends every connection. */
  close(): Promise<void>
}

/** Starts the gateway of an app; throws CommandError `front` if it cannot listen, `usage` if it cannot use the certificate. */
export async function startAppGateway(
  { places, from, certificate, endpoint, settings: bounds }: AppGatewaySettings,
  flowControl: boolean,
  logger: Logger,
): Promise<AppGateway> {
  if (certificate !== undefined) await checkCertificate(certificate)
  const { sendSpec, recvSpec } = endpoint
  const directory = dirname(recvSpec.slice('ipc://'.length))
  const removeDirectory = guardDirectory(directory)
  mkdirSync(directory, { mode: 0o700 })
  const route = {
    path: '',
    sendSpec,
    recvSpec,
    sendIdent: crypto.randomUUID(),
    recvIdent: '',
    protocol: 'tnetstring',
  } as const
  const settings = checkSettings({ ...bounds, flowControl, logger })
  try {
    const gateway = await Gateway.start({ ...settings, routes: [route] }, places, certificate)
    return {
      where: gateway.addresses.map((address) => textOf(address, certificate !== undefined)),
      renewCertificate: async () => {
        if (certificate !== undefined) await renewCertificate(gateway, certificate, logger)
      },
      stop: () => gateway.stop(),
      close: () => gateway.close().then(removeDirectory),
    }
  } catch (error) {
    removeDirectory()
    throw new CommandError('front', `${from.join(', ')} cannot listen: ${messageOf(error)}`)
  }
}

function textOf({ protocol, at, address }: GatewayAddress, secure: boolean): string {
  if (protocol === 'http') return address === undefined ? at : `http${secure ? 's' : ''}://${at}/`
  return `${protocol} ${at}`
}
