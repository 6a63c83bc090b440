/**
 * The platform's own classes. Somebody else may have replaced the globals with classes that extend them, as @hono/node-server
 * does: theirs look for their own instances, and what is behind them is what everything else passes for.
 */
export const PlatformRequest: typeof Request = rootOf(globalThis.Request)
export const PlatformResponse: typeof Response = rootOf(globalThis.Response)

function rootOf<Class extends object>(global: Class): Class {
  const parent: unknown = Object.getPrototypeOf(global)
  return typeof parent === 'function' && parent !== Function.prototype ? rootOf(parent as Class) : global
}
