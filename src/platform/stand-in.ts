import { inspect } from 'node:util'

/**
 * Lets a class's instances stand in for the platform's: `instanceof` holds, and whatever the class does not do itself is asked of a
 * real one, made when it is needed.
 *
 * @param standIn The class, whose prototype is completed.
 * @param sample One of the platform's, whose members are looked at.
 * @param realOf Gives the real one behind an instance; always the same for the same instance.
 */
export function completeStandIn<Instance extends object, Real extends object>(
  standIn: { readonly prototype: Instance },
  sample: Real,
  realOf: (instance: Instance) => Real,
): void {
  const { prototype } = standIn
  const platform: object = Object.getPrototypeOf(sample)
  Object.setPrototypeOf(prototype, platform)
  // Node 20 and 22 keep the state in symbols of the object, which the platform's own functions read.
  for (const key of Object.getOwnPropertySymbols(sample)) forwardAccess(key)
  for (const [key, { get, value }] of Object.entries(Object.getOwnPropertyDescriptors(platform))) {
    if (key === 'constructor') Object.defineProperty(prototype, key, { value, configurable: true, writable: true })
    else if (Object.hasOwn(prototype, key)) continue
    else if (get !== undefined) forwardAccess(key)
    else if (typeof value === 'function') forwardCall(key, value)
  }
  Object.defineProperty(prototype, inspect.custom, {
    value(this: Instance, _depth: number, options: object) {
      return inspect(realOf(this), options)
    },
    configurable: true,
  })

  function forwardAccess(key: string | symbol): void {
    Object.defineProperty(prototype, key, {
      get(this: Instance): unknown {
        return Reflect.get(realOf(this), key)
      },
      configurable: true,
      enumerable: typeof key === 'string',
    })
  }

  function forwardCall(key: string, method: (...parameters: unknown[]) => unknown): void {
    Object.defineProperty(prototype, key, {
      value(this: Instance, ...parameters: unknown[]): unknown {
        return Reflect.apply(method, realOf(this), parameters)
      },
      configurable: true,
      enumerable: true,
      writable: true,
    })
  }
}

/** Makes one Headers object say what another does. */
export function copyHeaders(from: Headers, to: Headers): void {
  if (from === to) return
  for (const name of [...to.keys()]) to.delete(name)
  for (const [name, value] of from) to.append(name, value)
}
