import { join } from 'node:path'
import type { EndpointOptions } from '../../options/endpoint.ts'
import { temporaryPath } from '../../runtime/process/temporary-directory.ts'

/**
 * An endpoint in a directory that `startAppGateway` creates for this user only.
 *
 * @param direct Whether other processes pull its messages.
 */
export function gatewayEndpoint(direct: boolean): EndpointOptions {
  const directory = temporaryPath()
  return {
    sendSpec: direct ? `ipc://${join(directory, 'send')}` : `inproc://${directory}`,
    recvSpec: `ipc://${join(directory, 'recv')}`,
    link: 'zmtp',
    controlPort: false,
  }
}
