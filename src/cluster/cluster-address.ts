import { SPEC } from '../options/option.ts'
import { invalid } from '../runtime/errors.ts'
import { checkKey } from './key-pair.ts'

/** The address of a main node. */
export interface ClusterAddress {
  /** `tcp://HOST:PORT`. */
  readonly spec: string
  readonly host: string
  readonly port: number
  /** The main node's public key, if the address contains it. */
  readonly key: string | undefined
}

const FORM = /^tcp:\/\/(?:([^@]*)@)?((?:[\w.%-]+|\[[^\]]+\])):(\d{1,5})$/
const LOOPBACK = /^(?:127(?:\.\d{1,3}){3}|localhost|\[?::1\]?)$/
const ANY = /^(?:0\.0\.0\.0|\[?::\]?)$/

/** Parses `tcp://[KEY@]HOST:PORT`; `leastPort` 0 leaves the port open. Throws Mongrel2Error `invalid_option`. */
export function parseClusterAddress(name: string, address: unknown, leastPort: 0 | 1): ClusterAddress {
  const found = typeof address === 'string' ? FORM.exec(address) : null
  const port = Number(found?.[3])
  if (found === null || !(port >= leastPort && port <= 65_535)) {
    throw invalid(name, 'tcp://HOST:PORT or tcp://KEY@HOST:PORT', address)
  }
  const [, key, host = ''] = found
  return {
    spec: `tcp://${host}:${port}`,
    host: host.replace(/^\[|\]$/g, ''),
    port,
    key: key === undefined ? undefined : checkKey(name, key),
  }
}

/** Whether a host name means only this machine. */
export function isLoopback(host: string): boolean {
  return LOOPBACK.test(host)
}

/** Whether a host name means all addresses of this machine. */
export function isAny(host: string): boolean {
  return ANY.test(host)
}

/** Whether a ZeroMQ address is of no use on another machine. */
export function isLocal(spec: string): boolean {
  if (spec.startsWith('ipc://')) return true
  const { host } = parseClusterAddress('', SPEC.check('', spec), 1)
  return isLoopback(host) || isAny(host)
}
