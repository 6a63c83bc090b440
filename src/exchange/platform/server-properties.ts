import type { RequestSource } from './light-request.ts'

/** What requests have of a server besides the platform's members: srvx's names, by which h3 and Nitro read them. */
type ServerProperties = Pick<RequestSource, 'ip' | 'waitUntil'>

/**
 * Gives a class of requests the properties `ip` and `waitUntil`. They can be assigned, as on the platform's requests, to which
 * frameworks copy them.
 *
 * @param sourceOf Gives what a request is made of.
 */
export function addServerProperties<Instance extends object>(
  requestClass: { readonly prototype: Instance },
  sourceOf: (request: Instance) => RequestSource,
): void {
  const add = <Name extends keyof ServerProperties>(
    name: Name,
    get: (source: RequestSource) => ServerProperties[Name],
  ) => {
    Object.defineProperty(requestClass.prototype, name, {
      get(this: Instance): ServerProperties[Name] {
        return get(sourceOf(this))
      },
      set(this: Instance, value: unknown) {
        Object.defineProperty(this, name, { value, configurable: true, enumerable: true, writable: true })
      },
      configurable: true,
      enumerable: true,
    })
  }
  add('ip', (source) => source.ip)
  // Frameworks take the function off one request and call it on another.
  add('waitUntil', (source) => (promise) => source.waitUntil(promise))
}
