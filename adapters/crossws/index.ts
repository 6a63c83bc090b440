import { type AdapterInstance, getWebSocketHooks, type Hooks } from 'crossws'
import bunnyAdapter, { type BunnyOptions } from 'crossws/adapters/bunny'
import {
  type FetchHandler,
  type Mongrel2Context,
  type Mongrel2Env,
  type ServedRequest,
  type UpgradeWebSocketOptions,
  upgradeWebSocket,
} from '../../src/index.ts'
import { fetchOf } from '../../src/platform/handler.ts'

/** Options of crossws. `idleTimeout` is in seconds there, by default 30. */
export type CrosswsOptions = Pick<
  BunnyOptions,
  'getNamespace' | 'handleProtocols' | 'hooks' | 'idleTimeout' | 'onError' | 'protocol' | 'resolve' | 'sync'
>

/** An app for `serveMongrel2`, with crossws' `peers`, `publish` and `close`. */
export interface CrosswsApp extends AdapterInstance {
  readonly fetch: FetchHandler
}

/** An open handshake. */
interface Handshake {
  readonly env: Mongrel2Env
  readonly context: Mongrel2Context
  /** Header fields of the response that the hook `upgrade` returned. */
  readonly headers: Headers
}

/**
 * Serves the WebSockets of an app by crossws, as h3 and Nitro expect it. Without the options `hooks` and `resolve` the app is called for each
 * handshake: `defineWebSocketHandler` of h3 answers with hooks; any other answer is sent to the client.
 *
 * crossws exports no base for adapters, so this uses its adapter for Bunny, which takes the socket from the request and the client's address from
 * the header `x-real-ip`, which is set here.
 *
 * @example
 * ```ts
 * import { defineWebSocketHandler, H3 } from 'h3'
 * import { serveMongrel2 } from 'mongrel2-fetch'
 * import { crossws } from 'mongrel2-fetch/crossws'
 *
 * const app = new H3().get('/chat', defineWebSocketHandler({ message: (peer, message) => void peer.send(message.text()) }))
 * serveMongrel2(crossws(app), { zeromq: 'tcp://127.0.0.1:9999,tcp://127.0.0.1:9998' })
 * ```
 * @see https://crossws.h3.dev
 */
export function crossws(
  app: FetchHandler | { readonly fetch: FetchHandler },
  { hooks, resolve, ...options }: CrosswsOptions = {},
): CrosswsApp {
  const ask = fetchOf<FetchHandler>(app)
  const handshakes = new WeakMap<Request, Handshake>()
  const find = resolve ?? (hooks === undefined ? hooksOfAnswer : undefined)
  const { handleUpgrade, ...instance } = bunnyAdapter({
    ...options,
    ...(hooks === undefined ? {} : { hooks: keepingHeaders(hooks) }),
    ...(find === undefined ? {} : { resolve: async (info) => keepingHeaders(await find(info)) }),
  })

  return {
    ...instance,
    fetch(request, env, context) {
      if (env.mongrel2.headers.METHOD !== 'WEBSOCKET_HANDSHAKE') return ask(request, env, context)
      const headers = new Headers()
      handshakes.set(request, { env, context, headers })
      request.headers.set('x-real-ip', env.mongrel2.remoteAddress)
      const upgrade = ({ idleTimeout = 0, ...more }: UpgradeWebSocketOptions) => {
        const upgraded = upgradeWebSocket(request, { ...more, headers, idleTimeout: idleTimeout * 1000 }, env)
        upgraded.socket.binaryType = 'arraybuffer'
        return upgraded
      }
      return handleUpgrade(Object.assign(request, { upgradeWebSocket: upgrade }))
    },
  }

  /** The hooks in the app's answer to a handshake. An answer without hooks is sent to the client. */
  async function hooksOfAnswer(request: Request): Promise<Partial<Hooks>> {
    const handshake = handshakes.get(request)
    if (handshake === undefined) return {}
    const answer: Response & { readonly crossws?: Partial<Hooks> } = await ask(
      request as ServedRequest,
      handshake.env,
      handshake.context,
    )
    const found = answer.crossws ?? (answer.status === 426 ? getWebSocketHooks(request) : undefined)
    return found ?? { upgrade: () => answer }
  }

  /** Keeps the header fields that the hook `upgrade` returns: the adapter drops all but the subprotocol. */
  function keepingHeaders(original: Partial<Hooks>): Partial<Hooks> {
    const { upgrade } = original
    if (upgrade === undefined) return original
    return {
      ...original,
      async upgrade(request) {
        const result = await upgrade(request)
        if (!(result instanceof Response) && result?.headers !== undefined) {
          const kept = handshakes.get(request)?.headers
          for (const [name, value] of new Headers(result.headers)) {
            if (name !== 'sec-websocket-protocol') kept?.append(name, value)
          }
        }
        return result
      },
    }
  }
}
