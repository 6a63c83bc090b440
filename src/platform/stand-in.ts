import type { InspectOptions, inspect } from 'node:util'
import { lazy } from '../runtime/process/lazy.ts'

const platformRequest = lazy(() => rootOf(globalThis.Request))
const platformResponse = lazy(() => rootOf(globalThis.Response))

/**
 * The platform's own classes, found on first use: then Node loads its implementation of fetch, which takes as long as all of this package. Other
 * code may have replaced the globals by subclasses whose `instanceof` holds for their own instances only, as @hono/node-server does.
 */
export const platform = {
  get Request(): typeof Request {
    return platformRequest()
  },
  get Response(): typeof Response {
    return platformResponse()
  },
}

function rootOf<Class extends object>(global: Class): Class {
  const parent: unknown = Object.getPrototypeOf(global)
  return typeof parent === 'function' && parent !== Function.prototype ? rootOf(parent as Class) : global
}

/**
 * Lets instances of a class stand in for the platform's: `instanceof` holds, and members that the class lacks are forwarded to a real object.
 *
 * @param standIn The class, whose prototype is completed.
 * @param sample A platform object with the members to complete.
 * @param realOf Gives the real object behind an instance, always the same one.
 */
export function completeStandIn<Instance extends object, Real extends object>(
  standIn: { readonly prototype: Instance },
  sample: Real,
  realOf: (instance: Instance) => Real,
): void {
  const { prototype } = standIn
  const platform: object = Object.getPrototypeOf(sample)
  Object.setPrototypeOf(prototype, platform)
  // Node 20 and 22 keep the state under symbols of the object, which the platform's functions read.
  for (const key of Object.getOwnPropertySymbols(sample)) forwardAccess(key)
  for (const [key, { get, value }] of Object.entries(Object.getOwnPropertyDescriptors(platform))) {
    if (key === 'constructor') Object.defineProperty(prototype, key, { value, configurable: true, writable: true })
    else if (Object.hasOwn(prototype, key)) continue
    else if (get !== undefined) forwardAccess(key)
    else if (typeof value === 'function') forwardCall(key, value)
  }
  Object.defineProperty(prototype, Symbol.for('nodejs.util.inspect.custom'), {
    value(this: Instance, _depth: number, options: InspectOptions, inspectValue: typeof inspect) {
      return inspectValue(realOf(this), options)
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

/** Makes one Headers object equal to another. */
export function copyHeaders(from: Headers, to: Headers): void {
  if (from === to) return
  for (const name of [...to.keys()]) to.delete(name)
  for (const [name, value] of from) to.append(name, value)
}

/** Replaces a property. Returns a function that puts it back, unless other code has replaced it meanwhile. */
export function replaceProperty(target: object, name: string, replaced: PropertyDescriptor): () => void {
  const before = Object.getOwnPropertyDescriptor(target, name) ?? {}
  Object.defineProperty(target, name, replaced)
  return () => {
    const now = Object.getOwnPropertyDescriptor(target, name)
    if (now?.get === replaced.get && now?.value === replaced.value) Object.defineProperty(target, name, before)
  }
}

/**
 * Makes the platform's methods and getters take light objects as `this`, as in `Request.prototype.clone.call(request)`.
 *
 * @param prototype The platform's prototype, whose members are replaced.
 * @param unwrap Gives the real object behind a light one, any other value as it is.
 * @returns Functions as of `replaceProperty`.
 */
export function unwrapMembers(prototype: object, unwrap: (value: unknown) => unknown): (() => void)[] {
  const restorers: (() => void)[] = []
  for (const [name, before] of Object.entries(Object.getOwnPropertyDescriptors(prototype))) {
    const { get, value } = before
    if (name === 'constructor' || typeof (get ?? value) !== 'function') continue
    const member = get === undefined ? { value: unwrapping(value) } : { get: unwrapping(get) }
    restorers.push(replaceProperty(prototype, name, { ...before, ...member }))
  }
  return restorers

  function unwrapping<Parameters extends unknown[], Result>(
    member: (...parameters: Parameters) => Result,
  ): (...parameters: Parameters) => Result {
    const { name, length } = member
    const wrapper = function (this: unknown, ...parameters: Parameters): Result {
      return Reflect.apply(member, unwrap(this), parameters)
    }
    return Object.defineProperties(wrapper, { name: { value: name }, length: { value: length } })
  }
}
