import type { ConnectionState, ServerState } from '../operations/server-state.ts'
import * as is from '../options/option.ts'
import { invalid, Mongrel2Error } from '../runtime/errors.ts'
import { messageOf } from '../runtime/log.ts'
import { type AccessSettings, type Need, refusalOf } from './access.ts'
import { eventsOf } from './events.ts'
import { Monitor } from './monitor.ts'
import { pageResponse } from './page.ts'
import { isToken } from './token.ts'

/** The part of a `Mongrel2Server` or `WorkersServer` that is shown. */
export interface AdminServer {
  stats(): ServerState
  metrics(options?: { openMetrics?: boolean }): string
  connections(): readonly ConnectionState[] | Promise<readonly ConnectionState[]>
  /** Replaces the workers. Without it there is no reload. */
  reload?(): Promise<void>
}

/** Options of `createAdmin`. */
export interface AdminOptions {
  /**
   * What clients have to send, as `Authorization: Bearer TOKEN` or as the password of a browser, for everything but `/healthz` and `/readyz`. At
   * least 16 printable characters of ASCII. Default: none; then everybody may read.
   */
  token?: string
  /** Whether actions need no token, since only those who may do them can reach the handler. Default: false. */
  trusted?: boolean
}

/** A fetch handler. It can be mounted in an app, below a prefix that the app removes. */
export type AdminHandler = (request: Request) => Promise<Response>

export const ADMIN_OPTIONS = {
  token: is.checkedBy((name, token) => {
    if (token === undefined || isToken(token)) return token
    // The error does not show it.
    throw invalid(name, 'at least 16 printable characters of ASCII', `${String(token).length} characters`)
  }),
  trusted: is.boolean(false),
} satisfies is.Described<AdminOptions>
const checkOptions = is.checkerOf('option of createAdmin', '{ token, trusted }', ADMIN_OPTIONS)

/**
 * Makes a handler that shows a server to people and programs: `/healthz`, `/readyz`, `/metrics`, `/stats`, `/connections`, `POST /reload`, and `/`, a
 * page that is kept up to date by `/events`.
 *
 * @throws Mongrel2Error `invalid_option` when an option is wrong.
 *
 * @example
 * ```ts
 * import { Hono } from 'hono'
 * import { basicAuth } from 'hono/basic-auth'
 * import { serveMongrel2 } from 'mongrel2-fetch'
 * import { createAdmin } from 'mongrel2-fetch/admin'
 *
 * const app = new Hono().get('/', (c) => c.text('Hello'))
 * const server = serveMongrel2(app, { zeromq: 'tcp://127.0.0.1:9999,tcp://127.0.0.1:9998', metrics: true })
 * app.use('/admin/*', basicAuth({ username: 'admin', password: process.env.PASSWORD ?? '' }))
 * app.mount('/admin', createAdmin(server, { trusted: true }))
 * ```
 */
export function createAdmin(server: AdminServer, options: AdminOptions = {}): AdminHandler {
  return adminHandler(server, new Monitor(() => server.stats()), checkOptions(options))
}

interface Route {
  readonly need: Need
  readonly method: 'GET' | 'POST'
  answer(request: Request): Response | Promise<Response>
}

/** Makes the handler of a server and its monitor. */
export function adminHandler(server: AdminServer, monitor: Monitor, access: AccessSettings): AdminHandler {
  const mayAct = access.token !== undefined || access.trusted
  const routes: Readonly<Record<string, Route>> = {
    '/': { need: 'read', method: 'GET', answer: pageResponse },
    '/healthz': { need: 'open', method: 'GET', answer: () => text(200, 'ok') },
    '/readyz': { need: 'open', method: 'GET', answer: () => readiness(monitor) },
    '/metrics': { need: 'read', method: 'GET', answer: (request) => metricsOf(server, request) },
    '/stats': { need: 'read', method: 'GET', answer: () => Response.json(monitor.stats()) },
    '/connections': { need: 'read', method: 'GET', answer: () => connectionsOf(server) },
    '/events': {
      need: 'read',
      method: 'GET',
      answer: () => eventsOf(monitor, mayAct && server.reload !== undefined),
    },
    '/reload': { need: 'act', method: 'POST', answer: () => reload(server) },
  }
  return async (request) => {
    const { pathname } = new URL(request.url)
    const route = Object.hasOwn(routes, pathname || '/') ? routes[pathname || '/'] : undefined
    const response = await answerTo(request, route, access)
    response.headers.set('cache-control', 'no-store')
    response.headers.set('x-content-type-options', 'nosniff')
    return response
  }
}

async function answerTo(request: Request, route: Route | undefined, access: AccessSettings): Promise<Response> {
  const refused = refusalOf(request, route?.need ?? 'read', access)
  if (refused !== undefined) return refused
  if (route === undefined)
    return text(404, 'There is /, /healthz, /readyz, /metrics, /stats, /connections, /events and /reload.')
  const { method } = request
  if (method === route.method) return await route.answer(request)
  if (method !== 'HEAD' || route.method !== 'GET') {
    const allow = route.method === 'GET' ? 'GET, HEAD' : route.method
    return text(405, `Expected ${allow}, got ${method}.`, { allow })
  }
  const { status, headers, body } = await route.answer(request)
  await body?.cancel()
  return new Response(null, { status, headers })
}

function readiness(monitor: Monitor): Response {
  const { obstacles } = monitor.stats()
  return obstacles.length === 0 ? text(200, 'ready') : text(503, obstacles.join('\n'))
}

async function connectionsOf(server: AdminServer): Promise<Response> {
  try {
    return Response.json(await server.connections())
  } catch (error) {
    if (!(error instanceof Mongrel2Error)) throw error
    return text(503, messageOf(error))
  }
}

function metricsOf(server: AdminServer, request: Request): Response {
  const openMetrics = request.headers.get('accept')?.includes('application/openmetrics-text') === true
  const type = openMetrics ? 'application/openmetrics-text; version=1.0.0' : 'text/plain; version=0.0.4'
  try {
    const headers = { 'content-type': `${type}; charset=utf-8`, vary: 'accept' }
    return new Response(server.metrics({ openMetrics }), { headers })
  } catch (error) {
    if (!(error instanceof Mongrel2Error)) throw error
    return text(501, `Requests are not counted: ${error.message}.`)
  }
}

async function reload(server: AdminServer): Promise<Response> {
  if (server.reload === undefined) return text(501, 'Only workers can be replaced, and this server has none.')
  try {
    await server.reload()
    return text(200, 'The workers are replaced.')
  } catch (error) {
    if (!(error instanceof Mongrel2Error)) throw error
    return text(error.code === 'closed' ? 503 : 409, messageOf(error))
  }
}

function text(status: number, line: string, headers: Record<string, string> = {}): Response {
  return new Response(`${line}\n`, { status, headers: { 'content-type': 'text/plain; charset=utf-8', ...headers } })
}
