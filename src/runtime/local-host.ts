import { isIP } from 'node:net'

/** Whether a host of a URL is `localhost`, a name below it or an IP address. Any other name is somebody's who may let it resolve to this machine. */
export function isLocalHost(host: string): boolean {
  return host === 'localhost' || host.endsWith('.localhost') || isIP(host.replace(/^\[(.*)\]$/, '$1')) !== 0
}
