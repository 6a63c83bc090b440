import { fileURLToPath } from 'node:url'
import { runProgram } from './run-program.ts'

const SCRIPT = fileURLToPath(new URL('wrk.lua', import.meta.url))
const CONNECTIONS = 64
/** Seconds that an answer may take. */
const PATIENCE = 30

/** What is asked of a server. */
export interface HttpRequest {
  readonly path: string
  readonly method?: 'GET' | 'POST'
  readonly headers?: Readonly<Record<string, string>>
  /** Under 128 KiB, the most that Linux passes to a program in one variable. */
  readonly body?: string
}

/** What wrk counted. */
export interface WrkTotals {
  readonly requests: number
  readonly seconds: number
}

/**
 * Lets wrk ask as fast as answers come, over 64 connections.
 *
 * @throws Error if one answer was not a 2xx or 3xx, or one connection failed.
 */
export async function wrk(origin: string, request: HttpRequest, seconds: number): Promise<WrkTotals> {
  const { path, method = 'GET', headers = {}, body } = request
  const fields = Object.entries(headers).flatMap(([name, value]) => ['-H', `${name}: ${value}`])
  // A server may let some connections wait while others are busy; that is no failure.
  const patience = ['--timeout', `${PATIENCE}s`]
  // Its own duration is in whole seconds; interrupted, it stops and counts just as well.
  const output = await runProgram(
    'wrk',
    ['-t1', `-c${CONNECTIONS}`, `-d${Math.ceil(seconds) + 1}s`, ...patience, ...fields, '-s', SCRIPT, origin + path],
    {
      env: { BENCH_METHOD: method, ...(body === undefined ? {} : { BENCH_BODY: body }) },
      stopAfter: seconds * 1000,
    },
  )
  const totals: Record<'requests' | 'microseconds' | 'status' | 'sockets', number> = JSON.parse(
    output.trim().split('\n').at(-1) ?? '',
  )
  const { requests, microseconds, status, sockets } = totals
  if (status > 0 || sockets > 0) throw new Error(`wrk saw ${status} wrong status codes and ${sockets} failed sockets`)
  if (requests === 0) throw new Error('wrk got no answer')
  return { requests, seconds: microseconds / 1e6 }
}
