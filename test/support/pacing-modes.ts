import type { EndpointOptions, Mongrel2Statistics } from '../../src/index.ts'
import type { Mongrel2, Mongrel2TestOptions } from './mongrel2.ts'

/** How a Mongrel2 and its endpoint have to be for streams to be paced in a certain way. */
export interface PacingModeCase {
  readonly mode: keyof Mongrel2Statistics['pacing']
  readonly config: Mongrel2TestOptions
  zeromq(mongrel2: Mongrel2): string | EndpointOptions
}

/** The three ways to pace a stream. */
export const PACING_MODES: readonly PacingModeCase[] = [
  { mode: 'credits', config: { flowControl: true }, zeromq: (mongrel2) => mongrel2.endpoint },
  { mode: 'controlPort', config: {}, zeromq: (mongrel2) => `${mongrel2.endpoint},${mongrel2.controlPort}` },
  { mode: 'estimate', config: {}, zeromq: (mongrel2) => withoutControlPort(mongrel2.endpoint) },
]

/** An endpoint at which no control port is looked for. */
export function withoutControlPort(endpoint: string): EndpointOptions {
  const [sendSpec = '', recvSpec = ''] = endpoint.split(',')
  return { sendSpec, recvSpec, controlPort: false }
}

/** What `stats().pacing` says where so many connections are paced in one way. */
export function pacedBy(mode: PacingModeCase['mode'], connections: number): Mongrel2Statistics['pacing'] {
  return { credits: 0, controlPort: 0, estimate: 0, [mode]: connections }
}
